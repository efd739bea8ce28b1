import { EventEmitter } from 'node:events'
import { stripVTControlCharacters } from 'node:util'
import type { FollowerLag, ReplicationReading } from 'opentelemetry-instrumentation-replication-lag'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { LineDisplay } from '../../src/cli/display.js'
import { LiveDisplay } from '../../src/cli/live-display.js'
import { WatchedSource } from '../../src/cli/watched-source.js'

/** A terminal that remembers what is on it. */
class FakeTerminal extends EventEmitter {
  written = ''
  rows = 24

  constructor(public columns: number) {
    super()
  }

  write(text: string): boolean {
    this.written += text
    return true
  }

  /** The lines that were drawn last. */
  get lines(): string[] {
    const last = this.written.split('\u001b[J').at(-1) ?? ''
    return stripVTControlCharacters(last).split('\n').slice(0, -1)
  }
}

function createDisplay(columns: number, ...sources: WatchedSource[]) {
  const terminal = new FakeTerminal(columns)
  const display = new LiveDisplay(sources, terminal as never)
  display.start('Polling postgres:orders. Metrics: http://localhost:9464/metrics')
  return { terminal, display }
}

/** A source that was read once. */
async function watched(name: string, read: () => ReplicationReading): Promise<WatchedSource> {
  const source = new WatchedSource({ name, read: () => Promise.resolve().then(read) })
  await source.read(new AbortController().signal).catch(() => undefined)
  return source
}

const paused: FollowerLag = {
  shard: 'orders',
  replica: 'standby_2',
  lagSeqno: 1_986_432,
  lagSeconds: 4.2,
  receiveLagSeqno: 0,
  connected: true,
}
const gone: FollowerLag = { ...paused, replica: 'standby_1', lagSeconds: 90, connected: false }

const orders = () =>
  watched('postgres:orders', () => ({
    shards: [{ shard: 'orders', leaderSeqno: 1, followers: [{ replica: 'standby_2' }] }],
  }))

/** The codes of the colors that were set, 0 for none. */
function colorsOf(text: string): string[] {
  return text.split('\u001b[').flatMap((part) => /^(\d+)m/.exec(part)?.[1] ?? [])
}

function fail(): never {
  throw new Error('PostgreSQL at db:5432: ECONNREFUSED: check host and port, and whether it runs')
}

describe('the table in a terminal', () => {
  test('has a line for each follower, by name, with the last minute as a chart', async () => {
    const { terminal, display } = createDisplay(120, await orders())
    display.update([paused])
    display.update([{ ...paused, lagSeconds: 10 }, gone])
    expect(terminal.lines).toEqual([
      'Polling postgres:orders. Metrics: http://localhost:9464/metrics',
      '',
      expect.stringMatching(/^REPLICA +LAG +SECONDS +NOT RECEIVED +CONNECTED +LAST \d\d s$/),
      expect.stringMatching(/^orders\/standby_1 +2\.0 MB +90\.0 s +0 B +no +█$/),
      expect.stringMatching(/^orders\/standby_2 +2\.0 MB +10\.0 s +0 B +yes +▄█$/),
      '',
      'Ctrl-C ends it.',
    ])
    display.update([gone])
    display.update([gone, paused])
    expect(terminal.lines[4]).toMatch(/^orders\/standby_2 .* ▇$/)
  })

  test.each([40, 60, 80, 120])('fits %d columns', async (columns) => {
    const long = { ...gone, replica: 'a-follower-with-a-long-name.'.repeat(4) }
    const { terminal, display } = createDisplay(columns, await watched('postgres:orders', fail))
    display.log('warn', `the endpoint ${'x'.repeat(200)} does not answer`)
    for (let second = 0; second < 90; second++) display.update([paused, long])
    expect(terminal.lines.filter((line) => line.length > columns)).toEqual([])
    const text = terminal.lines.join(' ').replace(/\s+/g, ' ')
    expect(text).toContain('check host and port, and whether it runs')
    if (columns >= 60) expect(text).toContain(' 90.0 s ')
  })

  test('fits its height, and shows the worst followers', async () => {
    const { terminal, display } = createDisplay(80, await orders())
    terminal.rows = 12
    const followers = Array.from({ length: 100 }, (_, index) => ({
      ...paused,
      replica: `r${index}`,
      lagSeconds: index === 30 ? 7 : index % 2,
    }))
    const unknown = { shard: 'orders', replica: 'new', connected: true }
    display.update([...followers, unknown, gone])
    expect(terminal.lines.length).toBeLessThan(12)
    const text = terminal.lines.join('\n')
    expect(text).toMatch(/orders\/r30 +2/)
    expect(text).toMatch(/orders\/standby_1 .* no/)
    expect(text).toMatch(/orders\/new +- +- +- +yes/)
    expect(text).toMatch(/^and \d+ more, which are less far behind$/m)
  })

  test('is drawn in the same place, and again when the size changes', async () => {
    const { terminal, display } = createDisplay(120, await orders())
    display.update([paused])
    const height = terminal.lines.length
    terminal.written = ''
    display.update([paused])
    expect(terminal.written).toMatch(`\u001b[${height}A\r\u001b[J`)
    terminal.written = ''
    terminal.columns = 60
    terminal.emit('resize')
    expect(terminal.written.startsWith('\u001b[2J\u001b[H\r\u001b[J')).toBe(true)
    expect(terminal.lines.filter((line) => line.length > 60)).toEqual([])
  })

  test('says what is wrong with each source', async () => {
    const failing = await watched('postgres:a', fail)
    const alone = await watched('redis:b', () => ({ shards: [] }))
    const unread = await watched('kafka:c', () => ({
      shards: [
        { shard: 'c/0', followers: [] },
        { shard: 'c/1', followers: [], problem: 'no leader' },
      ],
    }))
    const invalid = await watched('custom', () => ({ shards: 7 }) as never)
    const waiting = new WatchedSource({ name: 'd', read: () => new Promise(() => undefined) })
    const { terminal } = createDisplay(200, failing, alone, unread, invalid, waiting)
    expect(terminal.lines).toEqual([
      expect.any(String),
      '',
      expect.any(String),
      '',
      'postgres:a cannot be read: PostgreSQL at db:5432: ECONNREFUSED: check host and port, and whether it runs',
      'redis:b has no replica. Is this the leader?',
      'c/0: its leader cannot be read',
      'c/1: no leader',
      expect.stringMatching(/^custom cannot be read: shards: expected an array/),
      'Ctrl-C ends it.',
    ])
  })

  test('shows the newest messages below, but not those about sources twice', async () => {
    const { terminal, display } = createDisplay(80, await watched('postgres:a', fail))
    for (const message of ['one', 'two', 'three', 'four']) display.log('warn', message)
    display.log('error', 'source "postgres:a" cannot be read: ECONNREFUSED')
    display.log('info', 'source "postgres:b" can be read again')
    display.update([])
    expect(terminal.lines.slice(-4)).toEqual(['two', 'three', 'four', 'Ctrl-C ends it.'])
  })

  test('lets no name move the cursor', async () => {
    const { terminal, display } = createDisplay(80, await orders())
    display.update([{ ...paused, replica: '\u001b[2Jx\n' }])
    expect(terminal.written).not.toContain('\u001b[2J')
    expect(terminal.lines[3]).toMatch(/^orders\/\?\[2Jx\? /)
  })

  test('has colors, unless NO_COLOR is set', async () => {
    const { terminal, display } = createDisplay(80, await orders())
    const caughtUp = { ...paused, replica: 'a', lagSeconds: 0 }
    const behind = { ...paused, replica: 'b' }
    const unknown = { shard: 'orders', replica: 'c', lagSeqno: 3, connected: true }
    const own = { shard: 'orders', lagSeqno: 3, lagSeconds: 0.5 }
    const followers = [caughtUp, behind, unknown, gone, own]
    display.update(followers)
    const codes = colorsOf(terminal.written)
    const expected = ['1', '32', '32', '33', '33', '31'].flatMap((code) => [code, '0'])
    expect(codes.slice(-12)).toEqual(expected)
    vi.stubEnv('NO_COLOR', '1')
    onTestFinished(() => void vi.unstubAllEnvs())
    terminal.written = ''
    display.update(followers)
    expect(colorsOf(terminal.written)).toEqual([])
  })
})

test('lines of a log say what changes about followers', () => {
  const write = vi.spyOn(process.stdout, 'write').mockReturnValue(true)
  onTestFinished(() => write.mockRestore())
  const display = new LineDisplay()
  const printed = () => write.mock.calls.map(([text]) => String(text).replace(/^\S+Z /, ''))
  display.update([paused])
  display.update([paused, gone])
  display.update([{ ...paused, connected: false }, gone])
  display.update([paused])
  expect(printed()).toEqual([
    'orders/standby_2 is connected\n',
    'orders/standby_1 is not connected\n',
    'orders/standby_2 is not connected\n',
    'orders/standby_2 is connected\n',
    'orders/standby_1 is no longer reported\n',
  ])
})
