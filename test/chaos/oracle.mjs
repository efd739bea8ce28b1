import { covers, during, overlaps, spansOf } from '../support/spans.mjs'
import { Truth } from '../support/truth.mjs'
import { Page } from './page.mjs'
/** @import { Finding, Verdict } from './page.mjs' */
/** @import { Recording } from './world.mjs' */
/** @typedef {Finding & { at: number, monitor: string, during: string[] }} Failure */

const MINUTE = 60_000

/** Compares each number that the monitors showed with what can have been true. The counts are by kind of incident, and by monitor. @param {Recording} recording */
export function judge(recording) {
  const truth = new Truth(recording)
  /** @type {Map<string, Record<Verdict, number>>} */
  const counts = new Map()
  const failures = [...judgeLogs(recording, truth)]
  const fail = (/** @type {string} */ what, at = recording.end, monitor = 'runner') =>
    failures.push({ verdict: 'false', what, at, monitor, during: [] })
  for (const what of recording.faults) fail(what)
  const programs = new Map(recording.monitors.map(({ name, program }) => [name, program]))
  for (const effect of recording.effects) {
    const { name, kind, target, to } = effect
    const pages = recording.scrapes.filter(({ monitor, series, ...time }) => {
      const isOwn = kind === 'paused' && programs.get(monitor) === target && series.length > 0
      return isOwn && covers([during(effect)], time)
    })
    const isWithout = truth.isContradicted(effect) || pages.length > 0
    if (isWithout) fail(`${name} of ${target} without an effect`, to.from)
  }
  /** @type {Record<string, { times: number[], seen: Map<string, number> }>} */
  const before = {}
  for (const scrape of recording.scrapes) {
    const { monitor, from: at, to } = scrape
    const { times, seen } = (before[monitor] ??= { times: [], seen: new Map() })
    times.push(to - at)
    const most = 100 + truth.tookAt(at)
    if (times.length > 15 && Math.min(...times.slice(-20)) > most) fail('a slow page', at, monitor)
    const page = new Page(recording, truth, scrape, { slowest: Math.max(...times.slice(-5)), seen })
    for (const finding of page.judge()) {
      if (page.misses.test(finding.what)) continue
      for (const name of [...page.during, monitor]) {
        const count = counts.get(name) ?? { right: 0, late: 0, silent: 0, false: 0, open: 0 }
        count[finding.verdict]++
        counts.set(name, count)
      }
      const failure = { ...finding, at, monitor, during: page.during }
      if (!/right|open/.test(finding.verdict)) failures.push(failure)
    }
  }
  return { counts, failures }
}

/** Finds unhandled errors, more than one line a minute for one cause, and refusals without a line. @param {Recording} recording @param {Truth} truth @returns {Generator<Failure>} */
function* judgeLogs({ logs, effects }, { leaderless }) {
  for (const [monitor, lines] of Object.entries(logs)) {
    const causes = lines.map(({ text }) => text.replace(/"[^"]*"|[\w.:/-]*\d[\w.:/-]*/g, '0'))
    const failure = { verdict: /** @type {const} */ ('false'), monitor, during: [] }
    for (const [index, { at, text }] of lines.entries()) {
      const isUnhandled = /unhandled|uncaught|Warning:|^\s+at /i.test(text)
      const recent = lines.slice(0, index + 1).filter((each) => each.at > at - MINUTE)
      const same = recent.filter((each) => causes[lines.indexOf(each)] === causes[index])
      // What ends and happens again is another cause.
      const minute = { from: at - 1.25 * MINUTE, to: at }
      const spans = [...effects.map((each) => spansOf([each])), ...leaderless.map((each) => [each])]
      const most = 1 + 2 * spans.filter((each) => overlaps(each, minute)).length
      if (isUnhandled || same.length > most) yield { ...failure, what: `log: ${text}`, at }
    }
    // While it is paused, or cannot reach a node anyway, it does not notice them.
    const others = spansOf(effects.filter(({ kind }) => /blocked|paused|restarted/.test(kind)))
    for (const { name, kind, from, to } of effects) {
      const isLong = /denied|refused/.test(kind) && to.from - from.to > MINUTE / 3
      const time = { from: from.from, to: to.to }
      const isLogged = lines.some(({ at }) => at > time.from && at < time.to)
      if (isLong && !isLogged && !overlaps(others, time))
        yield { ...failure, verdict: 'silent', what: `log of ${name}`, at: to.from }
    }
  }
}
