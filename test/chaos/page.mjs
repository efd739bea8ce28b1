import { back, covers, during, overlaps, spansOf } from '../support/spans.mjs'
import { GAP_MILLIS } from '../support/truth.mjs'
import { HOUR } from './incidents.mjs'

/** @import { Span } from '../support/spans.mjs' */
/** @import { Range, Truth } from '../support/truth.mjs' */
/** @import { Recording, Scrape } from './world.mjs' */
/** `late`: it was true within the last minute. `silent`: nothing is reported, not even that it cannot be read. `open`: all can be true. @typedef {'right' | 'late' | 'silent' | 'false' | 'open'} Verdict */
/** @typedef {{ verdict: Verdict, what: string, shown?: number | undefined, truth?: Range }} Finding */
/** @typedef {Readonly<Record<string, number | undefined>>} Numbers */

/** What the way of a reading to the runner may take, how long clients may need to connect again, and how long the last numbers stay. */
const [SLACK_MILLIS, RECONNECT_MILLIS, STAY_MILLIS, MINUTE] = [600, 2000, 5000, 60_000]
/** Incidents after which a follower can have another history, and those after which it is known again. */
const [BEGINS, STARTS] = [/changed|emptied|joined|left/, /changed|emptied|joined|left|stopped/]
/** @type {Range} */
const ANY = { low: -Infinity, high: Infinity }

/** One page of one monitor. */
export class Page {
  /** From when what is shown can have been read at the earliest, until now. @type {Span} */
  #time
  /** What has lasted so long must be known by now. @type {Span} */
  #settled
  #age

  /** @param {Recording} recording @param {Truth} truth @param {Scrape} scrape @param {{ slowest: number, seen: Map<string, number> }} before how long the slowest of the last pages of this monitor took, and when it has shown what */
  constructor(recording, truth, scrape, { slowest, seen }) {
    this.recording = recording
    this.truth = truth
    this.scrape = scrape
    this.seen = seen
    // On a busy machine, everything takes longer.
    const answered = truth.tookAt(scrape.from)
    const slack = SLACK_MILLIS + 2 * slowest + 2 * answered
    const { effects, monitors } = recording
    const monitor = monitors.find(({ name }) => name === scrape.monitor)
    const { pollMillis = 0, timeoutMillis = 0, program, misses = '^$' } = monitor ?? {}
    this.misses = new RegExp(misses)
    const own = effects.filter(({ target }) => target === program)
    const spansWith = (/** @type {string} */ kind) =>
      spansOf(own.filter((each) => each.kind === kind))
    this.starts = [{ from: 0, to: recording.start }, ...spansWith('restarted')]
    this.pauses = [...this.starts, ...spansWith('paused')]
    this.moves = own.filter(({ kind }) => kind === 'moved')
    this.#settled = this.#last(2 * pollMillis + timeoutMillis + RECONNECT_MILLIS + slack)
    // The first read after a node began to hang may last until its deadline. Later ones do not wait for it.
    const longest = pollMillis + timeoutMillis + slack
    const changes = [...spansOf(effects), ...[...truth.gaps.values()].flat(), ...truth.leaderless]
    const ends = changes.flatMap(({ from, to }) => [from, to].map((at) => ({ from: at, to: at })))
    const slow = spansOf(effects.filter(({ kind }) => kind === 'slow'))
    const isCalm = !overlaps([...ends, ...slow], this.#last(longest))
    this.#age = isCalm ? pollMillis + slack : longest
    this.#time = this.#last(this.#age)
    // Reads ask some questions one after the other, and may miss their deadline.
    this.isSlow = 3 * answered > timeoutMillis
    this.freshMillis = Math.max(15_000, 3 * pollMillis + timeoutMillis) + timeoutMillis
    this.isUp = this.#valueOf('source_up') === 1
    this.hasJoined = truth.hasJoined(this.#settled)
    const names = effects.filter((each) => overlaps(spansOf([each]), this.#settled))
    this.during = names.length > 0 ? [...new Set(names.map(({ name }) => name))] : ['no incident']
  }

  /** @returns {Generator<Finding>} */
  *judge() {
    for (const what of this.scrape.faults) yield { verdict: 'false', what }
    const up = this.#valueOf('source_up')
    const isPaused = overlaps(this.pauses, this.#settled)
    if (up === undefined && !isPaused) yield { verdict: 'silent', what: 'source_up' }
    if (up === undefined) return
    const isWell = this.#isWell() && !this.isSlow
    const isGone = this.truth.isGone(this.#settled) && !isPaused && !this.hasJoined
    yield compare('source_up', up, isGone ? only(0) : isWell ? only(1) : ANY)
    yield* this.#judgeLeader()
    for (const [name, label] of Object.entries(this.recording.shown))
      yield* this.#judgeFollower(name, label)
    yield* this.#judgeOthers()
  }

  /** When the leader was read, by the clock of the program, and where it was. @returns {Generator<Finding>} */
  *#judgeLeader() {
    const isMoved = covers(this.moves.map(during), this.#time)
    const isOpen = !this.isUp || (!isMoved && overlaps(spansOf(this.moves), this.#time))
    const shown = this.#valueOf('source_last_success_timestamp_seconds') ?? NaN
    const at = shown * 1000 - this.recording.origin - (isMoved ? HOUR : 0)
    const { from, to } = this.#time
    yield compare('last success', at, isOpen ? ANY : { low: from, high: to + SLACK_MILLIS })
    const seqno = this.#valueOf('leader_seqno')
    const time = this.#extended(this.#troubles(undefined, this.#reasons))
    const leaders = this.truth.leadersIn(time.from - GAP_MILLIS, time.to).map(({ name }) => name)
    if (seqno === undefined || leaders.length === 0) return
    yield compare('leader_seqno', seqno, this.truth.positions(leaders, time))
  }

  /** What does not exist. @returns {Generator<Finding>} */
  *#judgeOthers() {
    const { shown, shard, effects } = this.recording
    // A member that was added and not started yet has another name.
    const joining = effects.flatMap(({ kind, from }) => (/joined|emptied/.test(kind) ? from : []))
    if (overlaps(joining, this.#settled)) return
    for (const { metric, replica, ...each } of this.scrape.series) {
      const isFollower = Object.values(shown).includes(replica ?? '') && each.shard === shard
      // A mirror is a shard too.
      const isLeader = metric.includes('leader') && (each.shard === shard || this.hasJoined)
      if (!isFollower && !isLeader && each.source === undefined)
        yield { verdict: 'false', what: `${metric} of ${each.shard} ${replica ?? ''}` }
    }
  }

  /** @param {string} name @param {string} label @returns {Generator<Finding>} */
  *#judgeFollower(name, label) {
    const valueOf = (/** @type {string} */ metric) => this.#valueOf(metric, label)
    const [lag, seconds] = [valueOf('lag_seqno'), valueOf('lag_seconds')]
    const [received, retained] = [valueOf('receive_lag_seqno'), valueOf('retained_seqno')]
    const connected = valueOf('follower_connected')
    const isShown = (lag ?? seconds ?? connected) !== undefined
    const leading = this.truth.leaders.filter((each) => each.name === name)
    const existence = this.truth.existence(name)
    if (covers(leading, this.#settled) || !overlaps(existence, this.#settled)) {
      if (isShown && this.#isWell()) yield { verdict: 'false', what: `${name} as a follower` }
      return
    }
    if (overlaps(leading, this.#settled) || !covers(existence, this.#settled)) return
    // When the leader has not been readable for so long, nothing may be shown.
    const isOld = this.truth.isGone(this.#last(this.freshMillis + this.#age))
    if (isShown && isOld) yield { verdict: 'false', what: `${name} of long ago` }
    else if (isShown) yield this.#judgeConnected(name, connected)
    else if (this.isUp && this.#isWell() && this.#isSame(name))
      yield { verdict: 'silent', what: name }
    if (this.isUp || !this.misses.test('old')) yield* this.#judgeAbsence(name, { lag, connected })
    yield* this.#judgeNumbers(name, { lag, age: seconds && seconds * 1000, received, retained })
    // What a follower has not received, it has not applied.
    const isMore = (received ?? 0) > (lag ?? 0)
    if (isMore) yield { verdict: 'false', what: `receive lag of ${name}`, shown: received }
    const isAgeMissing = seconds === undefined && !this.misses.test('age of')
    const isMissing = lag === undefined ? connected === 1 : lag > 0 && isAgeMissing
    if (isMissing && this.isUp && this.#isWell(name))
      yield { verdict: 'silent', what: `lag of ${name}` }
  }

  /** What was shown a moment ago must not disappear. @param {string} name @param {Numbers} numbers @returns {Generator<Finding>} */
  *#judgeAbsence(name, numbers) {
    for (const [kind, shown] of Object.entries(numbers)) {
      const what = `${kind} of ${name}`
      const isRecent = this.scrape.from - (this.seen.get(what) ?? -Infinity) < STAY_MILLIS
      if (shown !== undefined && this.isUp) this.seen.set(what, this.scrape.from)
      if (shown === undefined && isRecent && this.#isSame(name)) yield { verdict: 'silent', what }
    }
  }

  /** Whether it has been one follower of one leader for a while. @param {string} name */
  #isSame(name) {
    // One that starts again without its data has another history for a moment.
    const begins = this.truth.effectsOn(name).flatMap((each) => {
      return BEGINS.test(each.kind) ? spansOf([each]) : each.kind === 'stopped' ? each.to : []
    })
    const spans = [...begins, ...this.truth.successions, ...this.pauses]
    return !overlaps(spans, { ...this.#settled, from: this.#settled.from - STAY_MILLIS })
  }

  /** @param {string} name @param {number | undefined} shown */
  #judgeConnected(name, shown) {
    const { fromOneNode = false, lostMillis = 0 } = this.recording.knows
    const since = { ...this.#settled, from: this.#settled.from - lostMillis }
    const isOnly = (/** @type {boolean} */ value, /** @type {Span} */ time) => {
      const samples = this.truth.samplesIn(name, time.from, time.to + SLACK_MILLIS)
      return samples.length > 0 && samples.every(({ linked }) => linked === value)
    }
    const isApart = isOnly(false, since) && !overlaps(this.truth.gaps.get(name) ?? [], since)
    // One that is asked does not answer. Otherwise the system has to notice first that it is stopped.
    const reasons = fromOneNode ? /stopped/ : /stopped|blocked/
    const isSilent = this.truth.isStopped(name, fromOneNode ? since : this.#settled, reasons)
    const isKnown = !overlaps(this.#troubles(undefined, this.#reasons), this.#settled)
    const isLinked = isOnly(true, this.#settled) && this.#isWell(name)
    const truth = isKnown && (isApart || isSilent) ? only(0) : isLinked ? only(1) : ANY
    return compare(`connected of ${name}`, shown, truth)
  }

  /** @param {string} name @param {Numbers} numbers @returns {Generator<Finding>} */
  *#judgeNumbers(name, numbers) {
    const { from, to } = this.#time
    const leaderTime = this.#extended(this.#troubles(undefined, this.#reasons))
    const ownTime = this.#extended(this.#troubles(name))
    for (const [what, shown] of Object.entries(numbers)) {
      if (shown === undefined) continue
      const kind = what === 'age' ? 'age' : 'lag'
      const subject = /received|retained/.test(what) ? this.truth.received(name) : name
      const least = this.truth.behind(subject, leaderTime)[kind]
      const most =
        ownTime.from < leaderTime.from ? this.truth.behind(subject, ownTime)[kind] : least
      const since = ownTime.from < from ? this.truth.behindSince(subject, ownTime)[kind] : 0
      // Slots are saved at checkpoints: a leader that was killed starts again with older ones.
      const isSaved = what === 'retained' && this.during.includes('leader restarted')
      const high = isSaved ? Infinity : Math.max(most.high, since)
      const compareWith = (/** @type {Range} */ range) =>
        compare(`${what} of ${name}`, shown, kind === 'lag' ? range : this.#widened(range))
      const known = kind === 'lag' ? Infinity : this.#knownMillis(name)
      const found = compareWith({ low: Math.min(least.low, known), high: Math.max(0, high) })
      const lastMinute = () => this.truth.behind(subject, { from: to - MINUTE, to })[kind]
      const isLate = found.verdict === 'false' && compareWith(lastMinute()).verdict !== 'false'
      yield isLate ? { ...found, verdict: 'late' } : found
    }
  }

  /** For how long a follower and its leader are known: older entries are at least so old, as in docs/metrics.md. @param {string} name */
  #knownMillis(name) {
    const { to } = this.#time
    const own = this.truth.effectsOn(name).filter(({ kind }) => STARTS.test(kind))
    const all = [...spansOf(own), ...this.starts, ...this.truth.successions]
    return to - Math.max(...all.flatMap((each) => (each.to < to ? [each.to] : [])))
  }

  /** An age is exact to the gap between the two samples of the leader between which the entry was written. @param {Range} age @returns {Range} */
  #widened({ low, high }) {
    const { to } = this.#time
    const troubles = this.#troubles(undefined, /denied|refused|changed|stopped|blocked/)
    const gaps = troubles.map((each) => ({ ...each, to: each.to + this.#age + RECONNECT_MILLIS }))
    let [oldest, newest] = [to - high, to - low]
    for (const each of gaps.toSorted((a, b) => b.from - a.from))
      if (each.from < oldest && each.to > oldest) oldest = each.from
    for (const each of gaps.toSorted((a, b) => a.from - b.from))
      if (each.from < newest && each.to > newest) newest = each.to
    const tolerance = Math.max(1000, this.#age, 0.05 * high)
    return { low: to - newest - tolerance, high: to - oldest + tolerance }
  }

  /** @param {string} metric @param {string} [label] */
  #valueOf(metric, label) {
    const name = `replication_${metric}`
    return this.scrape.series.find((each) => each.metric === name && each.replica === label)?.value
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
    return this.isUp && !this.hasJoined ? /changed|joined|left/ : undefined
  }

  /** When it may not have been able to. @param {string} [name] @param {RegExp} [kinds] of incidents @returns {Span[]} */
  #troubles(name, kinds = /./) {
    const { effects, knows } = this.recording
    const leaders = this.truth.leadersIn(this.#settled.from - MINUTE, this.#settled.to)
    const nodes = [name, ...leaders.map((each) => each.name)]
    const ofNodes = ['stopped', 'emptied', 'blocked', 'renamed']
    if (knows.overLinks) ofNodes.push('cut', 'throttled')
    // One connection carries many questions, one after the other.
    if (knows.fromOneNode) ofNodes.push('slow')
    const found = effects.filter(
      ({ kind, target }) =>
        kinds.test(kind) &&
        (/denied|refused|changed|joined|left/.test(kind) ||
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

/** @param {number} value @returns {Range} */
const only = (value) => ({ low: value, high: value })

/** @param {string} what @param {number | undefined} shown @param {Range} truth @returns {Finding} */
function compare(what, shown, truth) {
  const { low, high } = truth
  const isOpen = low <= 0 && high === Infinity
  const isRight = shown !== undefined && shown >= low && shown <= high
  return { verdict: isOpen ? 'open' : isRight ? 'right' : 'false', what, shown, truth }
}
