import { around, between, countUntil, covers, during, overlaps, spansOf } from './spans.mjs'

/** @import { Span } from './spans.mjs' */
/** @import { Effect, Recording, Sample } from '../chaos/world.mjs' */

/** What can have been true. @typedef {{ low: number, high: number }} Range */

/** @typedef {Span & { lag: Range, age: Range }} Step */
/** @typedef {Span & { name: string, history: string | undefined, position: number | undefined }} Leading */

/** What a node has received is followed as if it were another node. */
const RECEIVED = ' received'

/** Without an answer for so long, a node counts as one that the monitor may not be able to read either. */
export const GAP_MILLIS = 1000

/** What can have been true at each moment of a recording, as far as the samples and the incidents say. */
export class Truth {
  /** Who led, from the first to the last sample that says so. @type {Leading[]} */
  leaders = []
  /** When no leader answered. @type {Span[]} */
  leaderless
  /** Those after which another one led, or the same one with another history. @type {Span[]} */
  successions
  /** When each node gave no position. @type {Map<string, Span[]>} */
  gaps = new Map()
  /** Those with a position that can be compared. @type {Map<string, Sample[]>} */
  #samples = new Map()
  #effects
  /** What happened to each node. @type {Map<string, readonly Effect[]>} */
  #own = new Map()
  /** @type {Map<string, readonly Step[]>} */
  #steps = new Map()

  /** @param {Recording} recording */
  constructor({ samples, effects, end }) {
    this.#effects = effects
    const all = Object.entries(samples).flatMap(([name, own]) =>
      own.map((each) => ({ ...each, name })),
    )
    const claims = all.filter(({ leads }) => leads).sort((a, b) => a.to - b.to)
    let newest = 0
    for (const { name, from, to, term = 0, history, position } of claims) {
      // One that was replaced may not know that yet.
      if (term < newest) continue
      newest = term
      const last = this.leaders.at(-1)
      const isSame = last?.name === name && last.history === history
      if (isSame && from - last.to < GAP_MILLIS) last.to = to
      else this.leaders.push({ name, history, position, from: to, to })
    }
    this.leaderless = between(this.leaders, end)
    this.successions = this.leaderless.filter((_, index) => {
      const [last, next] = [this.leaders[index - 1], this.leaders[index]]
      return last?.name !== next?.name || last?.history !== next?.history
    })
    const histories = new Set(claims.map(({ history }) => history))
    for (const [name, own] of Object.entries(samples)) {
      const known = own.filter((each) => each.position !== undefined && histories.has(each.history))
      const gaps = between(known, end).filter(({ from, to }) => to - from > GAP_MILLIS)
      this.#samples.set(name, known)
      this.gaps.set(name, gaps)
      const received = known.map((each) => ({ ...each, position: each.received }))
      const answered = received.filter(({ position }) => position !== undefined)
      this.#samples.set(this.received(name), answered)
    }
  }

  /** @param {string} name @returns {readonly Effect[]} */
  effectsOn(name) {
    const node = name.replace(RECEIVED, '')
    const isOwn = (/** @type {Effect} */ { kind, target }) => kind === 'changed' || target === node
    const own = this.#own.get(name) ?? this.#effects.filter(isOwn)
    this.#own.set(name, own)
    return own
  }

  /** When a node can have existed. @param {string} name */
  existence(name) {
    const own = this.effectsOn(name)
    const joined = own.filter(({ kind }) => kind === 'joined')
    const left = own.filter(({ kind }) => kind === 'left')
    return joined.length > 0 ? joined.map(around) : between(left.map(during), Infinity)
  }

  /** Whether there is a follower that was added. It can have a leader of its own, as a mirror has. @param {Span} time */
  hasJoined(time) {
    return overlaps(this.#effects.filter(({ kind }) => kind === 'joined').map(around), time)
  }

  /** Whether a node has not run, or for other reasons given no answer. @param {string} name @param {Span} time @param {RegExp} [reasons] */
  isStopped(name, time, reasons = /stopped/) {
    const own = this.#effects.filter(
      ({ kind, target }) => reasons.test(kind) && (target === name || kind === 'refused'),
    )
    return covers(own.map(during), time)
  }

  /** Whether it is certain that no leader could be read. @param {Span} time */
  isGone(time) {
    const last = this.leaders.findLast(({ from }) => from <= time.from)
    const leaders = [last, ...this.leadersIn(time.from, time.to)]
    const reasons = /stopped|blocked|refused/
    return leaders.every((each) => each && this.isStopped(each.name, time, reasons))
  }

  /** Whether a node that was stopped, cut off or held got something that was written since. @param {Effect} effect */
  isContradicted(effect) {
    const time = during(effect)
    const leaders = this.leadersIn(time.from, time.from)
    const most = Math.max(...leaders.map(({ name }) => this.position(name, time.from).most))
    const own = this.samplesIn(effect.target, time.from, time.to)
    const isMoving = own.some((each) => covers([time], each) && Number(each.position) > most)
    return leaders.length > 0 && /stopped|cut|held/.test(effect.kind) && isMoving
  }

  /** @param {string} name @param {number} from @param {number} to @returns {readonly Sample[]} */
  samplesIn(name, from, to) {
    const all = this.#samples.get(name) ?? []
    return all.slice(countUntil(all, 'to', from), countUntil(all, 'from', to))
  }

  /** How long the slowest answer of nodes took about then. @param {number} at @param {Iterable<string>} [names] */
  tookAt(at, names = this.#samples.keys()) {
    const near = [...names].flatMap((each) => this.samplesIn(each, at - 1500, at + 1500))
    const took = near.map(({ from, to }) => to - from).filter((each) => each < GAP_MILLIS)
    return Math.max(0, ...took)
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
    const own = this.effectsOn(name)
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

  /** Where some of these nodes can have been in a time. @param {readonly string[]} names @param {Span} time @returns {Range} */
  positions(names, { from, to }) {
    const samples = names.flatMap((name) => this.samplesIn(name, from, to))
    const sampled = samples.map(({ position = 0 }) => ({ low: position, high: position }))
    const ends = names.flatMap((name) => [this.position(name, from), this.position(name, to)])
    const all = [...sampled, ...ends, ...ends.map(({ low, most }) => ({ low, high: most }))]
    // One that begins again can begin at 0.
    const begins = this.#effects.filter(({ kind }) => /stopped|changed/.test(kind))
    const least = overlaps(spansOf(begins), { from, to }) ? 0 : Infinity
    const low = Math.min(least, ...all.map((each) => each.low))
    // What it wrote right before that may not have been sampled.
    const changes = this.#effects.filter(({ kind }) => kind === 'changed')
    const isCut = overlaps(spansOf(changes), { from, to })
    return { low, high: isCut ? Infinity : Math.max(...all.map(({ high }) => high)) }
  }

  /** The name under which what a node has received can be asked for, in place of what it has applied. @param {string} name */
  received(name) {
    return name + RECEIVED
  }

  /** How far a follower can have been behind at some moment of a time, and how old the oldest entry that it lacked. @param {string} name @param {Span} time */
  behind(name, { from, to }) {
    const lag = { low: Infinity, high: -Infinity }
    const age = { low: Infinity, high: -Infinity }
    for (const leader of this.leadersIn(from - GAP_MILLIS, to + GAP_MILLIS)) {
      if (leader.name === name) continue
      const end = Math.min(to, leader.to + GAP_MILLIS)
      const steps = this.#stepsOf(leader.name, name)
      const start = countUntil(steps, 'to', Math.max(from, leader.from - GAP_MILLIS))
      for (const step of steps.slice(start, countUntil(steps, 'from', end))) {
        extend(lag, step.lag)
        extend(age, step.age)
      }
    }
    return { lag, age }
  }

  /** How far one node can have been behind another, between any two times at which something is known to change. @param {string} leader @param {string} name @returns {readonly Step[]} */
  #stepsOf(leader, name) {
    const key = `${leader} ${name}`
    const known = this.#steps.get(key)
    if (known) return known
    const samples = [leader, name].flatMap((each) => this.#samples.get(each) ?? [])
    const times = samples.flatMap(({ from, to }) => [from, to]).sort((a, b) => a - b)
    const steps = times.map((from, index) => {
      const to = times[index + 1] ?? from
      const at = (from + to) / 2
      // A monitor cannot be faster than the sampler, and it may be 100 ms slower.
      const delay = 100 + this.tookAt(at, [leader, name])
      const [ahead, own] = [this.position(leader, at), this.position(name, at)]
      const most = this.position(leader, at + delay).most
      const high = this.position(name, at + delay).high
      const since = ahead.low > high ? this.#writtenAt(leader, high, at).high : at
      let oldest = this.#writtenAt(leader, own.low, at).low
      let span = this.leaders.findLastIndex((each) => each.name === leader && each.from <= at)
      // What a leader had when it began, a former one has written.
      for (; span > 0 && Number(this.leaders[span]?.position) > own.low; span--) {
        const former = /** @type {Leading} */ (this.leaders[span - 1])
        oldest = Math.min(oldest, this.#writtenAt(former.name, own.low, former.to).low)
      }
      const lag = { low: ahead.low - high, high: most - own.low }
      return { from, to, lag, age: { low: at - since, high: at - oldest } }
    })
    this.#steps.set(key, steps)
    return steps
  }

  /** The same for a follower whose position was read before, and whose leader was read at the end. @param {string} name @param {Span} time */
  behindSince(name, { from, to }) {
    // It can have begun again at a lower position in the meantime.
    const own = this.samplesIn(name, from, to).map(({ position = 0 }) => position)
    const low = Math.min(this.position(name, from).low, ...own)
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

/** @param {Range} range @param {Range} other */
function extend(range, { low, high }) {
  range.low = Math.min(range.low, Math.max(0, low))
  range.high = Math.max(range.high, high)
}
