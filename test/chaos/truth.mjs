/** @import { Effect, Recording, Sample, Span } from './world.mjs' */

/** What can have been true. @typedef {{ low: number, high: number }} Range */

/** Without an answer for so long, a node counts as one that the monitor may not be able to read either. */
export const GAP_MILLIS = 1000

/** What can have been true at each moment of a recording, as far as the samples and the incidents say. */
export class Truth {
  /** Who led, from the first to the last sample that says so. @type {(Span & { name: string })[]} */
  leaders = []
  /** When no leader answered. @type {Span[]} */
  leaderless
  /** When each node gave no position. @type {Map<string, Span[]>} */
  gaps = new Map()
  /** Those with a position that can be compared. @type {Map<string, Sample[]>} */
  #samples = new Map()
  #effects

  /** @param {Recording} recording */
  constructor({ samples, effects, end }) {
    this.#effects = effects
    const all = Object.entries(samples).flatMap(([name, own]) =>
      own.map((each) => ({ ...each, name })),
    )
    const claims = all.filter(({ leads }) => leads).sort((a, b) => a.to - b.to)
    let newest = 0
    for (const { name, from, to, term = 0 } of claims) {
      // One that was replaced may not know that yet.
      if (term < newest) continue
      newest = term
      const last = this.leaders.at(-1)
      if (last?.name === name && from - last.to < GAP_MILLIS) last.to = to
      else this.leaders.push({ name, from: to, to })
    }
    this.leaderless = between(this.leaders, end)
    const histories = new Set(claims.map(({ history }) => history))
    for (const [name, own] of Object.entries(samples)) {
      const known = own.filter((each) => each.position !== undefined && histories.has(each.history))
      const gaps = between(known, end).filter(({ from, to }) => to - from > GAP_MILLIS)
      this.#samples.set(name, known)
      this.gaps.set(name, gaps)
    }
  }

  /** @param {string} name @param {number} from @param {number} to @returns {readonly Sample[]} */
  samplesIn(name, from, to) {
    const all = this.#samples.get(name) ?? []
    return all.slice(countUntil(all, 'to', from), countUntil(all, 'from', to))
  }

  /** @param {number} from @param {number} to */
  leadersIn(from, to) {
    return this.leaders.filter((each) => each.to >= from && each.from <= to)
  }

  /** Where a node can have been, and the most that it can have had of what it may have lost. @param {string} name @param {number} at */
  position(name, at) {
    const all = this.#samples.get(name) ?? []
    const [last, next] = [all[countUntil(all, 'to', at) - 1], all[countUntil(all, 'from', at)]]
    const before = last?.position ?? 0
    let after = next?.position ?? Infinity
    const own = this.#effects.filter(({ kind, target }) => kind === 'changed' || target === name)
    const stop = own.find(
      ({ kind, from, to }) => kind === 'stopped' && from.to < at && at < to.from,
    )
    const time = { from: last?.to ?? 0, to: next?.from ?? Infinity }
    const begins = own.filter(({ kind }) => kind === 'changed' || kind === 'emptied')
    const least = overlaps(spansOf(begins), time) ? 0 : Math.min(before, after)
    const [leader] = stop ? this.leadersIn(stop.from.from - GAP_MILLIS, stop.from.to) : []
    // Since it was stopped, it has not got more than its leader had then.
    if (stop && leader && leader.name !== name) {
      after = Math.min(after, this.position(leader.name, stop.from.to).high)
    }
    // It can have written more, which was lost when it came back lower.
    const most = after < before ? Infinity : after
    return { low: least, high: Math.max(before, after), most }
  }

  /** How far a follower can have been behind at some moment of a time, and how old the oldest entry that it lacked. @param {string} name @param {Span} time */
  behind(name, { from, to }) {
    const lag = { low: Infinity, high: -Infinity }
    const age = { low: Infinity, high: -Infinity }
    for (const leader of this.leadersIn(from - GAP_MILLIS, to + GAP_MILLIS)) {
      if (leader.name === name) continue
      const start = Math.max(from, leader.from - GAP_MILLIS)
      const end = Math.min(to, leader.to + GAP_MILLIS)
      const samples = [leader.name, name].flatMap((each) => this.samplesIn(each, start, end))
      const times = [start, end, ...samples.flatMap(({ from, to }) => [from, to])]
      // A monitor cannot be faster than the sampler, and it may be 100 ms slower.
      const took = samples.map((each) => each.to - each.from).filter((each) => each < GAP_MILLIS)
      const delay = 100 + Math.max(0, ...took)
      const inside = times.filter((each) => each >= start && each <= end).sort((a, b) => a - b)
      // Between two of these times, nothing is known to change.
      for (const [index, time] of inside.entries()) {
        const at = (time + (inside[index + 1] ?? time)) / 2
        const [ahead, own] = [this.position(leader.name, at), this.position(name, at)]
        const most = this.position(leader.name, at + delay).most
        const high = this.position(name, at + delay).high
        const since = ahead.low > high ? this.#writtenAt(leader.name, high, at).high : at
        extend(lag, ahead.low - high, most - own.low)
        extend(age, at - since, at - this.#writtenAt(leader.name, own.low, at).low)
      }
    }
    return { lag, age }
  }

  /** The same for a follower whose position was read before, and whose leader was read at the end. @param {string} name @param {Span} time */
  behindSince(name, { from, to }) {
    const { low } = this.position(name, from)
    const leaders = this.leadersIn(from, to).map(({ name }) => name)
    const lags = leaders.map((leader) => this.position(leader, to).most - low)
    const ages = leaders.map((leader) => to - this.#writtenAt(leader, low, to).low)
    return { lag: Math.max(...lags), age: Math.max(...ages) }
  }

  /** When a leader can have written the entry after a position, before another time. @param {string} leader @param {number} position @param {number} at @returns {Range} */
  #writtenAt(leader, position, at) {
    const all = this.#samples.get(leader) ?? []
    // A leader can come back lower, so this looks for the last time that it was there.
    let index = countUntil(all, 'from', at) - 1
    while (index >= 0 && (all[index]?.position ?? 0) > position) index--
    return { low: all[index]?.from ?? 0, high: all[index + 1]?.to ?? Infinity }
  }
}

/** When incidents can have had an effect. Of one that changes something, only its begin and its end have. @param {readonly Effect[]} effects @returns {Span[]} */
export function spansOf(effects) {
  return effects.flatMap(({ kind, from, to }) =>
    /changed|joined/.test(kind) ? [from, to] : [{ from: from.from, to: to.to }],
  )
}

/** @param {readonly Span[]} spans @param {Span} time */
export function overlaps(spans, time) {
  return spans.some(({ from, to }) => from <= time.to && to >= time.from)
}

/** @param {readonly Span[]} spans @param {Span} time */
export function covers(spans, time) {
  return spans.some(({ from, to }) => from <= time.from && to >= time.to)
}

/** Whether one begins or ends then. @param {readonly Span[]} spans @param {Span} time */
export function touches(spans, time) {
  return spans.some(({ from, to }) => [from, to].some((at) => at >= time.from && at <= time.to))
}

/** @param {number} at @param {number} millis @param {readonly Span[]} pauses do not count */
export function back(at, millis, pauses) {
  let start = at - millis
  for (const { from, to } of pauses.toSorted((a, b) => b.to - a.to)) {
    if (from < at && to > start) start -= Math.min(to, at) - from
  }
  return start
}

/** The times before, between and after others. @param {readonly Span[]} spans @param {number} end @returns {Span[]} */
function between(spans, end) {
  const starts = [...spans, { from: end }]
  return starts.map(({ from }, index) => ({ from: spans[index - 1]?.to ?? 0, to: from }))
}

/** @param {Range} range @param {number} low @param {number} high */
function extend(range, low, high) {
  range.low = Math.min(range.low, Math.max(0, low))
  range.high = Math.max(range.high, high)
}

/** How many samples come before a time. @param {readonly Sample[]} samples @param {'from' | 'to'} field @param {number} time */
function countUntil(samples, field, time) {
  let [low, high] = [0, samples.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if (/** @type {Sample} */ (samples[middle])[field] <= time) low = middle + 1
    else high = middle
  }
  return low
}
