/** The GTIDs of one server and tag: distinct intervals in ascending order, both ends included. */
type Intervals = readonly (readonly [first: bigint, last: bigint])[]

/** A set of GTIDs, by the UUID of the server that created them, with their tag if they have one: `uuid` or `uuid:tag`. */
export type GtidSet = ReadonlyMap<string, Intervals>

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const TAG = /^[a-z_][a-z0-9_]{0,31}$/
const INTERVAL = /^(\d{1,19})(?:-(\d{1,19}))?$/

/**
 * Parses `uuid:1-3:5,uuid:tag:1`, as servers write it: in any case, with white space, a UUID several times, and several tags
 * after one UUID. An empty text is the empty set. Returns `undefined` if it is invalid.
 */
export function parseGtidSet(value: unknown): GtidSet | undefined {
  if (typeof value !== 'string') return undefined
  const intervals = new Map<string, [bigint, bigint][]>()
  for (const part of value.toLowerCase().replace(/\s+/g, '').split(',')) {
    if (part === '') continue
    const [uuid = '', ...words] = part.split(':')
    if (!UUID.test(uuid) || !INTERVAL.test(words.at(-1) ?? '')) return undefined
    let key = uuid
    for (const word of words) {
      if (TAG.test(word)) {
        key = `${uuid}:${word}`
        continue
      }
      const [, first = '0', last = first] = INTERVAL.exec(word) ?? []
      const interval: [bigint, bigint] = [BigInt(first), BigInt(last)]
      if (interval[0] < 1n || interval[0] > interval[1]) return undefined
      const known = intervals.get(key)
      if (known) known.push(interval)
      else intervals.set(key, [interval])
    }
  }
  return new Map([...intervals].map(([key, list]) => [key, merge(list)]))
}

/** Returns a set that has the GTIDs of all these. */
export function union(sets: readonly GtidSet[]): GtidSet {
  const keys = new Set(sets.flatMap((set) => [...set.keys()]))
  const all = (key: string) => merge(sets.flatMap((set) => set.get(key) ?? []))
  return new Map([...keys].map((key) => [key, all(key)]))
}

function merge(list: Intervals): Intervals {
  const intervals = [...list].sort(([a], [b]) => Number(a > b) - Number(a < b))
  const merged: [bigint, bigint][] = []
  for (const [first, last] of intervals) {
    const previous = merged.at(-1)
    if (!previous || first > previous[1] + 1n) merged.push([first, last])
    else if (last > previous[1]) previous[1] = last
  }
  return merged
}

/** Returns how many GTIDs a set has. */
export function sizeOf(set: GtidSet): bigint {
  return [...set.values()].reduce((sum, intervals) => sum + count(intervals), 0n)
}

function count(intervals: Intervals): bigint {
  return intervals.reduce((sum, [first, last]) => sum + last - first + 1n, 0n)
}

/** Returns how many GTIDs two sets have in common. */
export function commonSize(set: GtidSet, other: GtidSet): bigint {
  return [...set].reduce((sum, [key, intervals]) => sum + common(intervals, other.get(key)), 0n)
}

function common(intervals: Intervals, others: Intervals = []): bigint {
  let sum = 0n
  for (let i = 0, j = 0; i < intervals.length && j < others.length;) {
    const [a, b] = [intervals[i], others[j]] as [Intervals[number], Intervals[number]]
    const first = a[0] > b[0] ? a[0] : b[0]
    const last = a[1] < b[1] ? a[1] : b[1]
    if (first <= last) sum += last - first + 1n
    if (a[1] < b[1]) i++
    else j++
  }
  return sum
}

/** Returns the keys under which a set has GTIDs that the other does not have. */
export function keysMissingIn(other: GtidSet, set: GtidSet): string[] {
  const entries = [...set].filter(([key, each]) => common(each, other.get(key)) < count(each))
  return entries.map(([key]) => key)
}
