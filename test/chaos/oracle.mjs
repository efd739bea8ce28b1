import { Truth } from './truth.mjs'

/** @import { Range } from './truth.mjs' */
/** @import { Effect, Recording, Scrape, Span } from './world.mjs' */

/**
 * - `right`: it was true when it can have been read, and no other value is due.
 * - `late`: it was true within the last minute, and should have changed.
 * - `silent`: nothing is reported, not even that it cannot be read.
 * - `false`: it was not true.
 *
 * @typedef {'right' | 'late' | 'silent' | 'false'} Verdict
 */

/** @typedef {{ verdict: Verdict, what: string, shown?: number | string | undefined, truth?: number | string }} Finding */
/** @typedef {Finding & { at: number, monitor: string, during: string[] }} Failure */
/** @typedef {Record<Verdict, number>} Counts */

/** What the way of a reading to the runner may take. */
const SLACK_MILLIS = 600
/** How long clients may take to connect again. */
const RECONNECT_MILLIS = 2000
const MINUTE = 60_000

/**
 * Compares each number that the monitors showed with what can have been true.
 *
 * @param {Recording} recording
 * @returns {{ counts: Map<string, Counts>, failures: Failure[] }} the counts are by kind of incident
 */
export function judge(recording) {
  const truth = new Truth(recording)
  /** @type {Map<string, Counts>} */
  const counts = new Map()
  /** @type {Failure[]} */
  const failures = []
  for (const [index, scrape] of recording.scrapes.entries()) {
    // On a busy machine, everything takes longer.
    const recent = recording.scrapes.slice(Math.max(0, index - 12), index + 1)
    const slowest = Math.max(...recent.map(({ asked, answered }) => answered - asked))
    const page = new Page(recording, truth, scrape, SLACK_MILLIS + 2 * slowest)
    for (const finding of page.judge()) {
      for (const name of page.during) {
        const count = counts.get(name) ?? { right: 0, late: 0, silent: 0, false: 0 }
        count[finding.verdict]++
        counts.set(name, count)
      }
      const { monitor, asked: at } = scrape
      if (finding.verdict !== 'right')
        failures.push({ ...finding, at, monitor, during: page.during })
    }
  }
  const others = [...judgeTimes(recording), ...judgeLogs(recording)]
  for (const shown of recording.leaks) {
    others.push({ verdict: 'false', what: 'leak', shown, at: recording.end, monitor: 'service' })
  }
  return { counts, failures: [...failures, ...others.map((each) => ({ ...each, during: [] }))] }
}

/** One page of one monitor. */
class Page {
  #recording
  #truth
  #scrape
  #monitor
  /** From when what is shown can have been read at the earliest, until now. @type {Span} */
  #time
  /** What has lasted so long must be known by now. @type {Span} */
  #settled
  #age

  /** @param {Recording} recording @param {Truth} truth @param {Scrape} scrape @param {number} slack what may come on top of a poll */
  constructor(recording, truth, scrape, slack) {
    this.#recording = recording
    this.#truth = truth
    this.#scrape = scrape
    const monitor = recording.monitors.find(({ name }) => name === scrape.monitor)
    if (!monitor) throw new Error(`there is no monitor ${scrape.monitor}`)
    this.#monitor = monitor
    const { pollMillis, timeoutMillis } = monitor
    this.#settled = this.#last(2 * pollMillis + timeoutMillis + RECONNECT_MILLIS + slack)
    // The first read after a node began to hang may last until its deadline. Later ones do not wait for it.
    const longest = pollMillis + timeoutMillis + slack
    const { effects } = recording
    const gaps = [...[...truth.gaps.values()].flat(), ...truth.leaderless]
    const changes = [
      ...effects.flatMap((each) => [each.from, each.to]),
      ...gaps.flatMap(({ from, to }) => [from, to].map((at) => ({ from: at, to: at }))),
      ...spansOf(effects.filter(({ kind }) => kind === 'slow')),
    ]
    const isCalm = !overlaps(changes, this.#last(longest))
    this.#age = isCalm ? pollMillis + slack : longest
    this.#time = this.#last(this.#age)
    const names = spansOf(recording.effects).filter((each) => overlaps([each], this.#settled))
    this.during = names.length > 0 ? [...new Set(names.map(({ name }) => name))] : ['no incident']
  }

  /** @returns {Generator<Finding>} */
  *judge() {
    const { shown, shard, effects } = this.#recording
    for (const each of this.#scrape.faults) yield { verdict: 'false', what: each }
    yield this.#judgeSource()
    const names = new Map(Object.entries(shown).map(([name, label]) => [label, name]))
    // A member that was added and not started yet has another name.
    const isJoining = effects.some(
      ({ kind, from }) => kind === 'changed' && overlaps([from], this.#settled),
    )
    for (const { metric, ...series } of this.#scrape.series) {
      const { replica } = series
      const isKnown = replica === undefined || (names.has(replica) && series.shard === shard)
      if (isKnown || isJoining) continue
      yield { verdict: 'false', what: `${metric} of ${replica}`, truth: 'it does not exist' }
    }
    for (const [label, name] of names) yield* this.#judgeFollower(name, label)
  }

  /** @returns {Finding} */
  #judgeSource() {
    const what = 'source_up'
    const shown = this.#valueOf('replication_source_up')
    const isPaused = overlaps(this.#pauses, this.#settled)
    const isGone = covers(this.#truth.leaderless, this.#settled) && !isPaused
    const isWell = !overlaps(this.#troubles(), this.#settled)
    if (shown === undefined) return { verdict: isPaused ? 'right' : 'silent', what }
    const isFalse = shown === 1 ? isGone : isWell
    return { verdict: isFalse ? 'false' : 'right', what, shown, truth: 1 - shown }
  }

  /** @param {string} name @param {string} label @returns {Generator<Finding>} */
  *#judgeFollower(name, label) {
    const { added } = this.#recording
    const [lag, seconds, connected] = ['lag_seqno', 'lag_seconds', 'follower_connected'].map(
      (metric) => this.#valueOf(`replication_${metric}`, label),
    )
    const isShown = (lag ?? seconds ?? connected) !== undefined
    const leading = this.#truth.leaders.filter((each) => each.name === name)
    const existence = added[name] ?? [{ from: 0, to: Infinity }]
    if (covers(leading, this.#settled) || !overlaps(existence, this.#settled)) {
      if (isShown) yield { verdict: 'false', what: `${name} as a follower` }
      return
    }
    if (overlaps(leading, this.#settled) || !covers(existence, this.#settled)) return
    const isUp = this.#valueOf('replication_source_up') !== 0
    if (!isShown) {
      const isWell = isUp && !overlaps(this.#troubles(), this.#settled)
      if (isWell) yield { verdict: 'silent', what: name }
      return
    }
    yield this.#judgeConnected(name, connected)
    if (lag !== undefined) yield this.#judgeNumber(name, 'lag', lag)
    if (seconds !== undefined) yield this.#judgeNumber(name, 'age', seconds * 1000)
    const isMissing = lag === undefined ? connected === 1 : lag > 0 && seconds === undefined
    if (isMissing && isUp && !overlaps(this.#troubles(name), this.#settled)) {
      yield { verdict: 'silent', what: `lag of ${name}` }
    }
  }

  /** @param {string} name @param {number | undefined} shown @returns {Finding} */
  #judgeConnected(name, shown) {
    const { asksFollowers, lostMillis } = this.#recording.traits
    const { from, to } = this.#settled
    const what = `connected of ${name}`
    if (shown !== 1) {
      const samples = this.#truth.samplesIn(name, from, to)
      const isLinked = samples.length > 0 && samples.every(({ linked }) => linked)
      const isWell = isLinked && !overlaps(this.#troubles(name), this.#settled)
      return { verdict: isWell ? 'false' : 'right', what, shown, truth: 1 }
    }
    const since = { from: from - lostMillis, to }
    const gaps = this.#truth.gaps.get(name) ?? []
    const samples = this.#truth.samplesIn(name, since.from, to)
    const isApart =
      samples.length > 0 && samples.every(({ linked }) => !linked) && !overlaps(gaps, since)
    // One that is asked answers nobody when it is stopped. Otherwise the system has to notice that first.
    const isStopped = this.#recording.effects.some(
      ({ kind, target, ...each }) =>
        kind === 'stopped' &&
        target === name &&
        covers([{ from: each.from.to, to: each.to.from }], asksFollowers ? this.#settled : since),
    )
    const isFalse = (isApart || isStopped) && !overlaps(this.#troubles(), this.#settled)
    return { verdict: isFalse ? 'false' : 'right', what, shown, truth: 0 }
  }

  /** @param {string} name @param {'lag' | 'age'} kind @param {number} shown @returns {Finding} */
  #judgeNumber(name, kind, shown) {
    const { to } = this.#time
    const leaderTime = this.#extended(this.#troubles())
    const ownTime = this.#extended(this.#troubles(name))
    const { low } = this.#truth.behind(name, leaderTime)[kind]
    let { high } = this.#truth.behind(name, ownTime)[kind]
    if (ownTime.from < this.#time.from) {
      high = Math.max(high, this.#truth.behindSince(name, ownTime)[kind])
    }
    const tolerance = kind === 'lag' ? 0 : this.#gapOf(high)
    const least = kind === 'lag' ? low : Math.min(low, this.#knownMillis(name))
    const isIn = (/** @type {Range} */ range) =>
      shown >= range.low - tolerance && shown <= Math.max(0, range.high) + tolerance
    const isRight = isIn({ low: least, high })
    const wasTrue = isRight || isIn(this.#truth.behind(name, { from: to - MINUTE, to })[kind])
    const verdict = isRight && !this.#isOutdated() ? 'right' : wasTrue ? 'late' : 'false'
    return {
      verdict,
      what: `${kind} of ${name}`,
      shown,
      truth: `${low.toFixed()}…${high.toFixed()}`,
    }
  }

  /** Whether the leader has not been readable for so long that nothing may be shown. */
  #isOutdated() {
    const { pollMillis, timeoutMillis } = this.#monitor
    const fresh = Math.max(15_000, 3 * pollMillis + timeoutMillis)
    return covers(this.#truth.leaderless, this.#last(fresh + timeoutMillis + this.#age))
  }

  // The limits of the lag in seconds are those of docs/metrics.md.

  /** The gap between two samples of the leader, which is the greatest error. @param {number} age */
  #gapOf(age) {
    const { to } = this.#time
    const since = to - age
    const unread = this.#troubles().map(
      (each) => Math.min(each.to, to) - Math.max(each.from, since),
    )
    return (
      Math.max(1000, this.#age, 0.05 * age) +
      unread.reduce((sum, each) => sum + Math.max(0, each), 0)
    )
  }

  /** For how long the follower is known: entries that are older are at least so old. @param {string} name */
  #knownMillis(name) {
    const { effects } = this.#recording
    const starts = effects.filter(
      ({ kind, target }) => kind === 'changed' || (kind === 'stopped' && target === name),
    )
    const ends = [...spansOf(starts), ...this.#pauses, ...this.#truth.leaderless].map(
      ({ to }) => to,
    )
    return this.#time.to - Math.max(...ends.filter((each) => each < this.#time.to))
  }

  /** @param {string} metric @param {string} [replica] */
  #valueOf(metric, replica) {
    return this.#scrape.series.find((each) => each.metric === metric && each.replica === replica)
      ?.value
  }

  /** The last so many milliseconds in which the monitor ran. @param {number} millis @returns {Span} */
  #last(millis) {
    return { from: back(this.#scrape.asked, millis, this.#pauses), to: this.#scrape.answered }
  }

  get #pauses() {
    const { effects } = this.#recording
    const { program } = this.#monitor
    return spansOf(effects.filter(({ kind, target }) => kind === 'paused' && target === program))
  }

  /** When the monitor may not have been able to read the leader, and a follower if there is a name. @param {string} [name] @returns {Span[]} */
  #troubles(name) {
    const leaders = this.#truth.leadersIn(this.#settled.from - MINUTE, this.#settled.to)
    const nodes = [name, ...leaders.map((each) => each.name)]
    const { effects, traits } = this.#recording
    const ofNodes = ['stopped', 'blocked']
    if (traits.hearsOverLink) ofNodes.push('cut')
    // One connection carries many questions, one after the other.
    if (!traits.asksFollowers) ofNodes.push('slow')
    const isTrouble = (/** @type {Effect} */ { kind, target }) =>
      ['denied', 'changed'].includes(kind) || (ofNodes.includes(kind) && nodes.includes(target))
    const gaps = this.#truth.gaps.get(name ?? '') ?? []
    const spans = spansOf(effects.filter(isTrouble))
    return [...spans, ...gaps, ...this.#pauses, ...this.#truth.leaderless]
  }

  /** When what is shown can have been read, if it could not be in these spans. @param {readonly Span[]} spans @returns {Span} */
  #extended(spans) {
    let { from } = this.#time
    for (const each of spans.toSorted((a, b) => b.to - a.to)) {
      const isRecent = each.to >= from && each.from <= this.#time.to
      if (isRecent) from = Math.min(from, back(each.from, this.#age, this.#pauses))
    }
    return { from: Math.max(0, from), to: this.#time.to }
  }
}

/** When incidents can have had an effect. Of one that changes something, only its begin and its end have. @param {readonly Effect[]} effects */
function spansOf(effects) {
  return effects.flatMap(({ name, kind, from, to }) =>
    kind === 'changed'
      ? [
          { name, ...from },
          { name, ...to },
        ]
      : [{ name, from: from.from, to: to.to }],
  )
}

/** @param {readonly Span[]} spans @param {Span} time */
function overlaps(spans, time) {
  return spans.some(({ from, to }) => from <= time.to && to >= time.from)
}

/** @param {readonly Span[]} spans @param {Span} time */
function covers(spans, time) {
  return spans.some(({ from, to }) => from <= time.from && to >= time.to)
}

/** @param {number} at @param {number} millis @param {readonly Span[]} pauses do not count */
function back(at, millis, pauses) {
  let start = at - millis
  for (const { from, to } of pauses.toSorted((a, b) => b.to - a.to)) {
    if (from < at && to > start) start -= Math.min(to, at) - from
  }
  return start
}

/** Finds monitors that served no page, or for five seconds none in less than 100 ms. @param {Recording} recording */
function* judgeTimes({ monitors, scrapes, effects, end }) {
  for (const { name: monitor, program } of monitors) {
    const own = scrapes.filter((each) => each.monitor === monitor)
    const pauses = spansOf(
      effects.filter(({ kind, target }) => kind === 'paused' && target === program),
    )
    let slow = 0
    for (const [index, { asked, answered, delayed }] of own.entries()) {
      const next = { from: answered - RECONNECT_MILLIS, to: own[index + 1]?.asked ?? end }
      const isMissing = next.to - answered > 5000 && !overlaps(pauses, next)
      if (isMissing)
        yield { verdict: /** @type {const} */ ('silent'), what: 'page', at: answered, monitor }
      const millis = answered - asked - delayed
      slow =
        millis > 100 && !overlaps(pauses, { from: asked - RECONNECT_MILLIS, to: answered })
          ? slow + 1
          : 0
      if (slow === 10)
        yield {
          verdict: /** @type {const} */ ('false'),
          what: 'slow pages',
          shown: millis,
          at: asked,
          monitor,
        }
    }
  }
}

/** Finds errors that nobody handled, and more than one line a minute for one cause. @param {Recording} recording */
function* judgeLogs({ logs, effects }) {
  const verdict = /** @type {const} */ ('false')
  for (const [monitor, lines] of Object.entries(logs)) {
    const causes = lines.map(({ text }) => text.replace(/"[^"]*"|[\w.:/-]*\d[\w.:/-]*/g, '0'))
    for (const [index, { at, text }] of lines.entries()) {
      const finding = { verdict, what: 'log', shown: text, at, monitor }
      if (/unhandled|uncaught|Warning:|^\s+at /i.test(text)) yield finding
      const since = at - MINUTE
      const same = lines.filter(
        (each, i) => i <= index && each.at > since && causes[i] === causes[index],
      )
      // What ends and happens again is another cause.
      const count = effects.filter(
        ({ from, to }) => from.from < at && to.to > since - MINUTE / 4,
      ).length
      if (same.length > 1 + 2 * count) yield finding
    }
  }
}
