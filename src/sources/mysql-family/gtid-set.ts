import { append } from '../shared/groups.js'

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
      append(intervals, key, interval)
    }
  }
  return new Map([...intervals].map(([key, list]) => [key, merge(list)]))
}

/** Returns the union of these sets. */
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

/** Returns the GTIDs of a set that another set does not have. */
export function subtract(set: GtidSet, other: GtidSet): GtidSet {
  const rest = new Map<string, Intervals>()
  for (const [key, intervals] of set) {
    const left = difference(intervals, other.get(key))
    if (left.length > 0) rest.set(key, left)
  }
  return rest
}

function difference(intervals: Intervals, others: Intervals = []): Intervals {
  const left: [bigint, bigint][] = []
  let next = 0
  for (const [first, last] of intervals) {
    let from = first
    // Both are in ascending order. An interval of the others can reach into several of these.
    while (next < others.length && (others[next] as Intervals[number])[1] < from) next++
    for (let i = next; i < others.length && from <= last; i++) {
      const [start, end] = others[i] as Intervals[number]
      if (start > last) break
      if (start > from) left.push([from, start - 1n])
      from = end + 1n
    }
    if (from <= last) left.push([from, last])
  }
  return left
}

/**
 * Returns how many GTIDs of a set come before the first one that is missing in their interval. Intervals need not be in the
 * order of time: each member of a group numbers from its own block, and continues there when it is the primary again.
 *
 * @param missing GTIDs of this set.
 */
export function sizeBefore(set: GtidSet, missing: GtidSet): bigint {
  const rests = [...missing].map(([key, gaps]): [string, Intervals] => {
    let next = 0
    const rest = (set.get(key) as Intervals).flatMap(([first, last]): Intervals => {
      while ((gaps[next]?.[0] ?? first) < first) next++
      const start = gaps[next]?.[0]
      return start !== undefined && start <= last ? [[start, last]] : []
    })
    return [key, rest]
  })
  return sizeOf(subtract(set, new Map(rests)))
}
