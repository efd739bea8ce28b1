import { back, covers, lengthIn, overlaps, spansOf } from '../support/spans.mjs'
import { Truth } from './truth.mjs'

/** @import { Range } from './truth.mjs' */
/** @import { Span } from '../support/spans.mjs' */
/** @import { Recording, Scrape } from './world.mjs' */

/** `late`: it was true within the last minute. `silent`: nothing is reported, not even that it cannot be read. @typedef {'right' | 'late' | 'silent' | 'false'} Verdict */
/** @typedef {number | string | undefined} Shown */
/** @typedef {{ verdict: Verdict, what: string, shown?: Shown, truth?: Shown }} Finding */
/** @typedef {Finding & { at: number, monitor: string, during: string[] }} Failure */

/** What the way of a reading to the runner may take, for how long clients may need to connect again, and a minute. */
const [SLACK_MILLIS, RECONNECT_MILLIS, MINUTE] = [600, 2000, 60_000]

/** Compares each number that the monitors showed with what can have been true. The counts are by kind of incident. @param {Recording} recording */
export function judge(recording) {
  const truth = new Truth(recording)
  /** @type {Map<string, Record<Verdict, number>>} */
  const counts = new Map()
  const failures = [...judgeLogs(recording)]
  for (const what of recording.faults) failures.push(fault('false', what, recording.end, 'service'))
  /** How long the pages of each monitor took. @type {Record<string, number[]>} */
  const times = {}
  for (const scrape of recording.scrapes) {
    const took = (times[scrape.monitor] ??= [])
    took.push(scrape.to - scrape.from)
    // On a busy machine, everything takes longer.
    const answered = truth.tookAt(scrape.from)
    const slack = SLACK_MILLIS + 2 * Math.max(...took.slice(-5)) + 2 * answered
    const page = new Page(recording, truth, scrape, slack)
    page.isSlow = 3 * answered > page.timeoutMillis
    const isLate = took.length > 15 && Math.min(...took.slice(-20)) > 100
    if (isLate)
      failures.push(fault('false', 'pages in more than 100 ms', scrape.to, scrape.monitor))
    for (const finding of page.judge()) {
      for (const name of page.during) {
        const count = counts.get(name) ?? { right: 0, late: 0, silent: 0, false: 0 }
        count[finding.verdict]++
        counts.set(name, count)
      }
      const { monitor, from: at } = scrape
      const failure = { ...finding, at, monitor, during: page.during }
      if (finding.verdict !== 'right') failures.push(failure)
    }
  }
  return { counts, failures }
}

/** One page of one monitor. */
class Page {
  /** From when what is shown can have been read at the earliest, until now. @type {Span} */
  #time
  /** What has lasted so long must be known by now. @type {Span} */
  #settled
  #age
  /** Whether reads, which ask some questions one after the other, may miss their deadline. */
  isSlow = false

  /** @param {Recording} recording @param {Truth} truth @param {Scrape} scrape @param {number} slack what may come on top of a poll */
  constructor(recording, truth, scrape, slack) {
    this.recording = recording
    this.truth = truth
    this.scrape = scrape
    const { effects, monitors } = recording
    const monitor = monitors.find(({ name }) => name === scrape.monitor)
    const { pollMillis = 0, timeoutMillis = 0, program } = monitor ?? {}
    const own = effects.filter(({ target }) => target === program)
    const spansWith = (/** @type {string} */ kind) =>
      spansOf(own.filter((each) => each.kind === kind))
    this.starts = [{ from: 0, to: recording.start }, ...spansWith('restarted')]
    this.pauses = [...this.starts, ...spansWith('paused')]
    this.#settled = this.#last(2 * pollMillis + timeoutMillis + RECONNECT_MILLIS + slack)
    // The first read after a node began to hang may last until its deadline. Later ones do not wait for it.
    const longest = pollMillis + timeoutMillis + slack
    const changes = [...spansOf(effects), ...[...truth.gaps.values()].flat(), ...truth.leaderless]
    const ends = changes.flatMap(({ from, to }) => [from, to].map((at) => ({ from: at, to: at })))
    const slow = spansOf(effects.filter(({ kind }) => kind === 'slow'))
    const isCalm = !overlaps([...ends, ...slow], this.#last(longest))
    this.#age = isCalm ? pollMillis + slack : longest
    this.#time = this.#last(this.#age)
    this.timeoutMillis = timeoutMillis
    this.freshMillis = Math.max(15_000, 3 * pollMillis + timeoutMillis) + timeoutMillis
    const names = effects.filter((each) => overlaps(spansOf([each]), this.#settled))
    this.during = names.length > 0 ? [...new Set(names.map(({ name }) => name))] : ['no incident']
  }

  /** @returns {Generator<Finding>} */
  *judge() {
    const { shown, shard, effects } = this.recording
    for (const what of this.scrape.faults) yield { verdict: 'false', what }
    if (this.scrape.series.length === 0) {
      if (!overlaps(this.pauses, this.#settled)) yield { verdict: 'silent', what: 'page' }
      return
    }
    yield this.#judgeSource()
    const labels = Object.values(shown)
    // A member that was added and not started yet has another name.
    const joining = effects.flatMap(({ kind, from }) => (kind === 'joined' ? [from] : []))
    const others = this.scrape.series.filter(
      (each) => each.replica && !(labels.includes(each.replica) && each.shard === shard),
    )
    for (const { metric, replica } of overlaps(joining, this.#settled) ? [] : others) {
      yield { verdict: 'false', what: `${metric} of ${replica}`, truth: 'it does not exist' }
    }
    for (const [name, label] of Object.entries(shown)) yield* this.#judgeFollower(name, label)
  }

  /** @returns {Finding} */
  #judgeSource() {
    const shown = this.#valueOf('source_up')
    const isPaused = overlaps(this.pauses, this.#settled)
    if (shown === undefined) return { verdict: isPaused ? 'right' : 'silent', what: 'source_up' }
    const isGone = this.#isGone(this.#settled) && !isPaused && !this.#hasOther()
    const isWell = this.#isWell() && !this.isSlow
    return verdictOf(shown === 1 ? isGone : isWell, 'source_up', shown, 1 - shown)
  }

  /** Whether there is a follower that was added. It can have a leader of its own, as a mirror has. */
  #hasOther() {
    const joined = this.recording.effects.filter(({ kind }) => kind === 'joined')
    const spans = joined.map(({ from, to }) => ({ from: from.from, to: to.to }))
    return overlaps(spans, this.#settled)
  }

  /** @param {string} name @param {string} label @returns {Generator<Finding>} */
  *#judgeFollower(name, label) {
    const metrics = ['lag_seqno', 'lag_seconds', 'follower_connected', 'receive_lag_seqno']
    const [lag, seconds, connected, received = 0] = metrics.map((metric) =>
      this.#valueOf(metric, label),
    )
    const isShown = (lag ?? seconds ?? connected) !== undefined
    const leading = this.truth.leaders.filter((each) => each.name === name)
    const joined = this.truth.effectsOn(name).filter(({ kind }) => kind === 'joined')
    const spans = joined.map(({ from, to }) => ({ from: from.from, to: to.to }))
    const existence = spans.length > 0 ? spans : [{ from: 0, to: Infinity }]
    if (covers(leading, this.#settled) || !overlaps(existence, this.#settled)) {
      if (isShown && this.#isWell()) yield { verdict: 'false', what: `${name} as a follower` }
      return
    }
    if (overlaps(leading, this.#settled) || !covers(existence, this.#settled)) return
    const isUp = this.#valueOf('source_up') !== 0
    // When the leader has not been readable for so long, nothing may be shown.
    const isOld = this.#isGone(this.#last(this.freshMillis + this.#age))
    if (isShown && isOld) yield { verdict: 'false', what: `${name} of long ago` }
    else if (isShown) yield this.#judgeConnected(name, connected)
    else if (isUp && this.#isWell()) yield { verdict: 'silent', what: name }
    yield* this.#judgeNumbers(name, { lag, age: seconds && seconds * 1000 })
    // What a follower has not received, it has not applied.
    const isMore = received > (lag ?? 0)
    if (isMore) yield { verdict: 'false', what: `receive lag of ${name}`, truth: lag }
    const isMissing = lag === undefined ? connected === 1 : lag > 0 && seconds === undefined
    if (isMissing && isUp && this.#isWell(name)) yield { verdict: 'silent', what: `lag of ${name}` }
  }

  /** @param {string} name @param {number | undefined} shown @returns {Finding} */
  #judgeConnected(name, shown) {
    const { fromOneNode = false, lostMillis = 0 } = this.recording.knows
    const { from, to } = this.#settled
    const since = { from: from - (shown === 1 ? lostMillis : 0), to }
    const samples = this.truth.samplesIn(name, since.from, to)
    const isOnly = (/** @type {boolean} */ value) =>
      samples.length > 0 && samples.every(({ linked }) => linked === value)
    const what = `connected of ${name}`
    if (shown !== 1) return verdictOf(isOnly(true) && this.#isWell(name), what, shown, 1)
    const isApart = isOnly(false) && !overlaps(this.truth.gaps.get(name) ?? [], since)
    // One that is asked does not answer when it is stopped. Otherwise the system has to notice that first.
    const isStopped = this.#isStopped(name, fromOneNode ? since : this.#settled)
    const isKnown = !overlaps(this.#troubles(undefined, this.#reasons), this.#settled)
    return verdictOf((isApart || isStopped) && isKnown, what, shown, 0)
  }

  /** @param {string} name @param {Readonly<Record<'lag' | 'age', number | undefined>>} numbers @returns {Generator<Finding>} */
  *#judgeNumbers(name, numbers) {
    const { to } = this.#time
    const leaderTime = this.#extended(this.#troubles(undefined, this.#reasons))
    const ownTime = this.#extended(this.#troubles(name))
    const least = this.truth.behind(name, leaderTime)
    const most = ownTime.from < leaderTime.from ? this.truth.behind(name, ownTime) : least
    const isLong = ownTime.from < this.#time.from
    const since = isLong ? this.truth.behindSince(name, ownTime) : { lag: 0, age: 0 }
    for (const kind of /** @type {const} */ (['lag', 'age'])) {
      const shown = numbers[kind]
      if (shown === undefined) continue
      const { low } = least[kind]
      const high = Math.max(most[kind].high, since[kind])
      const exact = { known: Infinity, tolerance: 0 }
      const { known, tolerance } = kind === 'lag' ? exact : this.#limits(name, high)
      const isIn = (/** @type {Range} */ range) =>
        shown >= range.low - tolerance && shown <= Math.max(0, range.high) + tolerance
      const isRight = isIn({ low: Math.min(low, known), high })
      const wasTrue = isRight || isIn(this.truth.behind(name, { from: to - MINUTE, to })[kind])
      const verdict = isRight ? 'right' : wasTrue ? 'late' : 'false'
      const truth = `${low.toFixed()}…${high.toFixed()}`
      yield { verdict, what: `${kind} of ${name}`, shown, truth }
    }
  }

  /** The limits of the lag in seconds, as in docs/metrics.md. @param {string} name @param {number} age */
  #limits(name, age) {
    const { to } = this.#time
    // Entries that are older than what is known of the follower and its leader are at least so old.
    const starts = /changed|stopped|emptied|joined/
    const own = this.truth.effectsOn(name).filter(({ kind }) => starts.test(kind))
    const all = [...spansOf(own), ...this.starts, ...this.truth.successions]
    const known = to - Math.max(...all.flatMap((each) => (each.to < to ? [each.to] : [])))
    // The error is the gap between two samples of the leader at most.
    const troubles = this.#troubles(undefined, /denied|refused|changed|stopped|blocked/)
    const gap = lengthIn(troubles, { from: to - age, to })
    return { known, tolerance: Math.max(1000, this.#age, 0.05 * age) + gap }
  }

  /** @param {string} metric @param {string} [label] */
  #valueOf(metric, label) {
    const name = `replication_${metric}`
    return this.scrape.series.find((each) => each.metric === name && each.replica === label)?.value
  }

  /** Whether a node has not run, or for other reasons given no answer. @param {string} name @param {Span} time @param {RegExp} [reasons] */
  #isStopped(name, time, reasons = /stopped/) {
    const own = this.recording.effects.filter(
      ({ kind, target }) => reasons.test(kind) && (target === name || kind === 'refused'),
    )
    return own.some(({ from, to }) => from.to <= time.from && to.from >= time.to)
  }

  /** Whether it is certain that no leader could be read. @param {Span} time */
  #isGone(time) {
    const last = this.truth.leaders.findLast(({ from }) => from <= time.from)
    const leaders = [last, ...this.truth.leadersIn(time.from, time.to)]
    const reasons = /stopped|blocked|refused/
    return leaders.every((each) => each && this.#isStopped(each.name, time, reasons))
  }

  /** The last so many milliseconds in which the monitor ran. @param {number} millis @returns {Span} */
  #last(millis) {
    return { from: back(this.scrape.from, millis, this.pauses), to: this.scrape.to }
  }

  /** Whether the monitor must have been able to read the leader, and a follower if there is a name. @param {string} [name] */
  #isWell(name) {
    return !overlaps(this.#troubles(name), this.#settled)
  }

  /** What can keep it from reading a leader, if it does not say that its last read succeeded. */
  get #reasons() {
    return this.#valueOf('source_up') === 1 && !this.#hasOther() ? /changed|joined/ : undefined
  }

  /** When it may not have been able to. @param {string} [name] @param {RegExp} [kinds] of incidents @returns {Span[]} */
  #troubles(name, kinds = /./) {
    const { effects, knows } = this.recording
    const leaders = this.truth.leadersIn(this.#settled.from - MINUTE, this.#settled.to)
    const nodes = [name, ...leaders.map((each) => each.name)]
    const ofNodes = ['stopped', 'emptied', 'blocked']
    if (knows.overLinks) ofNodes.push('cut')
    // One connection carries many questions, one after the other.
    if (knows.fromOneNode) ofNodes.push('slow')
    const found = effects.filter(
      ({ kind, target }) =>
        kinds.test(kind) &&
        (/denied|refused|changed|joined/.test(kind) ||
          (ofNodes.includes(kind) && nodes.includes(target))),
    )
    const gaps = this.truth.gaps.get(name ?? '') ?? []
    return [...spansOf(found), ...gaps, ...this.pauses, ...this.truth.leaderless]
  }

  /** When what is shown can have been read, if it could not be in these spans. @param {readonly Span[]} spans @returns {Span} */
  #extended(spans) {
    let { from, to } = this.#time
    for (const each of spans.toSorted((a, b) => b.to - a.to)) {
      const isRecent = each.to >= from && each.from <= to
      if (isRecent) from = Math.min(from, back(each.from, this.#age, this.pauses))
    }
    return { from: Math.max(0, from), to }
  }
}

/** @param {boolean} isFalse @param {string} what @param {Shown} shown @param {Shown} truth @returns {Finding} */
function verdictOf(isFalse, what, shown, truth) {
  return { verdict: isFalse ? 'false' : 'right', what, shown, truth }
}

/** @param {Verdict} verdict @param {string} what @param {number} at @param {string} monitor @returns {Failure} */
function fault(verdict, what, at, monitor) {
  return { verdict, what, at, monitor, during: [] }
}

/** Finds unhandled errors, and more than one line a minute for one cause. @param {Recording} recording */
function* judgeLogs({ logs, effects }) {
  for (const [program, lines] of Object.entries(logs)) {
    const causes = lines.map(({ text }) => text.replace(/"[^"]*"|[\w.:/-]*\d[\w.:/-]*/g, '0'))
    for (const [index, { at, text }] of lines.entries()) {
      const isUnhandled = /unhandled|uncaught|Warning:|^\s+at /i.test(text)
      const recent = lines.slice(0, index + 1).filter((each) => each.at > at - MINUTE)
      const same = recent.filter((each) => causes[lines.indexOf(each)] === causes[index])
      // What ends and happens again is another cause.
      const minute = { from: at - 1.25 * MINUTE, to: at }
      const most = 1 + 2 * effects.filter((each) => overlaps(spansOf([each]), minute)).length
      if (isUnhandled || same.length > most) yield fault('false', `log: ${text}`, at, program)
    }
  }
}
