import type { FollowerLag } from 'opentelemetry-instrumentation-replication-lag'
import { stripVTControlCharacters, styleText } from 'node:util'
import { describe, expect, test } from 'vitest'
import { History } from '../../docs/demo/history.mjs'
import { LEGEND, renderLine, renderTable } from '../../docs/demo/screen.mjs'

const caughtUp: FollowerLag = {
  shard: 'orders',
  replica: 'standby_1',
  lagSeqno: 0,
  lagSeconds: 0,
  connected: true,
  leaderSeqno: 2_000_000,
  appliedSeqno: 2_000_000,
  receiveLagSeqno: 0,
}
const paused: FollowerLag = {
  ...caughtUp,
  replica: 'standby_2',
  lagSeqno: 1_986_432,
  lagSeconds: 4.2,
  appliedSeqno: 13_568,
}
const gone: FollowerLag = { ...paused, lagSeqno: 999_960, lagSeconds: 30, connected: false }

/** A history in which a follower has fallen behind for some seconds. */
function historyOf(...snapshots: FollowerLag[][]): History {
  const history = new History()
  for (const snapshot of snapshots) history.add(snapshot, undefined)
  return history
}

const options = { unit: 'bytes', columns: 80, colors: false }

describe('the table of the demo', () => {
  test('has positions, seconds, what waits to be applied, the connection and a chart', () => {
    const history = historyOf(
      [caughtUp],
      [caughtUp, { ...paused, lagSeconds: 2 }],
      [caughtUp, paused],
    )
    expect(renderTable([caughtUp, paused], history, options)).toEqual([
      expect.stringMatching(/^REPLICA +BYTES +SECONDS +TO APPLY +CONNECTED +LAST \d+ s$/),
      expect.stringMatching(/^standby_1 +0 B +0\.0 s +0 B +yes +▁▁▁$/),
      expect.stringMatching(/^standby_2 +2\.0 MB +4\.2 s +2\.0 MB +yes +▄▇$/),
    ])
  })

  test.each([40, 80, 120, 300])('fits a terminal of %d columns', (columns) => {
    const long = Array.from({ length: 200 }, () => [caughtUp, gone])
    for (const line of renderTable([caughtUp, gone], historyOf(...long), { ...options, columns })) {
      expect(line.length).toBeLessThanOrEqual(Math.max(columns, 60))
    }
  })

  test('fits its legend', () => {
    expect(LEGEND.length).toBeLessThanOrEqual(80)
  })

  test('has fixed thresholds for its colors', () => {
    const followers = [caughtUp, { ...paused, lagSeconds: 1 }, { ...paused, lagSeconds: 5 }, gone]
    const lines = renderTable(followers, new History(), { ...options, colors: true })
    const start = (format: 'bold' | 'green' | 'yellow' | 'red') =>
      styleText(format, '', { validateStream: false }).slice(0, 4)
    const colors = (['bold', 'green', 'yellow', 'red', 'red'] as const).map(start)
    expect(lines.map((line) => line.slice(0, 4))).toEqual(colors)
    expect(lines.map(stripVTControlCharacters)).toEqual(
      renderTable(followers, new History(), options),
    )
  })

  test('counts in the unit of the system', () => {
    const [heading, line] = renderTable([paused], new History(), { ...options, unit: 'messages' })
    expect(heading).toContain('MESSAGES')
    expect(line).toContain('1986432')
  })

  test('leaves out what is not known', () => {
    const [, line] = renderTable([{ shard: 'orders', lagSeqno: 0 }], new History(), options)
    expect(line).toMatch(/^orders +0 B +- +- +-$/)
    const [, lost] = renderTable([{ shard: 'orders', connected: false }], new History(), options)
    expect(lost).toMatch(/^orders +- +- +- +no$/)
  })

  test('is one line for output that is no terminal', () => {
    expect(renderLine([caughtUp, gone], 'bytes')).toBe(
      'standby_1 0 B 0.0 s   standby_2 1.0 MB 30.0 s disconnected',
    )
    expect(renderLine([paused], 'messages')).toBe('standby_2 1986432 messages 4.2 s')
  })
})

test('the history of the demo keeps scenes that last as one, and forgets old ones', () => {
  const history = new History()
  for (const title of ['link cut', 'link cut', undefined, 'idle']) history.add([caughtUp], title)
  expect(history.scenes.map(({ title }) => title)).toEqual(['link cut', 'idle'])
  expect(history.times).toHaveLength(4)
  expect(history.followers.get('standby_1')?.seconds).toEqual([0, 0, 0, 0])
})
