import { describe, expect, test } from 'vitest'
import {
  addSnapshot,
  formatBytes,
  renderLine,
  renderTable,
  takesColors,
} from '../../docs/examples/postgres/table.mjs'

const KIB = 1024
const MIB = 1024 * KIB

const row = (replica: string, ...lags: number[]) => ({ shard: 'orders', replica, lags })

/** The chart in each line of the table. */
function charts(...rows: Parameters<typeof renderTable>[0]) {
  return renderTable(rows)
    .slice(1)
    .map((line) => /([▁-█]+) .$/.exec(line)?.[1])
}

describe('a snapshot', () => {
  test('is added to the earlier lags of each follower', () => {
    const first = addSnapshot([], [{ shard: 'orders', replica: 'a', lagSeqno: 7 }])
    const second = addSnapshot(first, [
      { shard: 'orders', replica: 'b', lagSeqno: 1, lagSeconds: 2, connected: false },
      { shard: 'orders', replica: 'a', lagSeqno: 9 },
    ])

    expect(first).toEqual([row('a', 7)])
    expect(second).toEqual([row('a', 7, 9), { ...row('b', 1), seconds: 2, connected: false }])
  })

  test('removes the followers that are not in it', () => {
    const rows = [row('a', 1), row('b', 2)]
    expect(addSnapshot(rows, [{ shard: 'orders', replica: 'b', lagSeqno: 3 }])).toEqual([
      row('b', 2, 3),
    ])
    expect(addSnapshot(rows, [])).toEqual([])
  })

  test('keeps followers of different shards apart, and unnamed ones', () => {
    const snapshot = [
      { shard: 'users', lagSeqno: 1 },
      { shard: 'orders', replica: 'a', lagSeqno: 2 },
      { shard: 'orders', lagSeqno: 3 },
      { shard: 'users', replica: 'a', lagSeqno: 4 },
    ]
    expect(addSnapshot(addSnapshot([], snapshot), snapshot)).toEqual([
      { shard: 'orders', lags: [3, 3] },
      { shard: 'orders', replica: 'a', lags: [2, 2] },
      { shard: 'users', lags: [1, 1] },
      { shard: 'users', replica: 'a', lags: [4, 4] },
    ])
  })

  test('drops the oldest of more than thirty lags', () => {
    let rows = addSnapshot([], [])
    for (let lagSeqno = 1; lagSeqno <= 32; lagSeqno++) {
      rows = addSnapshot(rows, [{ shard: 'orders', replica: 'a', lagSeqno }])
    }
    expect(rows[0]?.lags).toHaveLength(30)
    expect(rows[0]?.lags.at(0)).toBe(3)
    expect(rows[0]?.lags.at(-1)).toBe(32)
  })
})

describe('the table', () => {
  test('has a line for each follower, in columns', () => {
    const rows = [
      { shard: 'orders', lags: [0, 0] },
      { ...row('standby_1', 0, 512 * KIB), seconds: 0.25, connected: true },
      { ...row('standby_2', 4 * MIB, 2 * MIB), seconds: 12, connected: false },
    ]
    const blank = ' '.repeat(28)
    expect(renderTable(rows)).toEqual([
      'SHARD   REPLICA          LAG  SECONDS  CONNECTED  TREND',
      `orders  -                0 B        -  -          ${blank}▁▁ →`,
      `orders  standby_1  512.0 KiB    0.3 s  yes        ${blank}▁▂ ↑`,
      `orders  standby_2    2.0 MiB   12.0 s  no         ${blank}█▅ ↓`,
    ])
  })

  test('is only a heading while there is no follower', () => {
    expect(renderTable([])).toEqual(['SHARD  REPLICA  LAG  SECONDS  CONNECTED  TREND'])
  })

  test('scales the charts to the largest lag of all followers', () => {
    expect(charts(row('a', 8 * MIB, 4 * MIB), row('b', 2 * MIB))).toEqual(['█▅', '▃'])
  })

  test('shows small lags as small', () => {
    expect(charts(row('a', 0, 8 * KIB), row('b', 16 * KIB))).toEqual(['▁▂', '▂'])
  })

  test('shows every lag, however small, and none for a follower that has caught up', () => {
    expect(charts(row('a', 1), row('b', 0), row('c', -5), row('d', 1e15))).toEqual([
      ...['▂', '▁', '▁', '█'],
    ])
  })

  test('has colors if asked, by lag and connection', () => {
    const rows = [
      ...[row('a', 0), row('b', 1 * MIB), row('c', 4 * MIB)],
      { ...row('d', 0), connected: false },
    ]
    const plain = renderTable(rows)
    expect(plain.join('')).not.toContain('\u001B')
    expect(renderTable(rows, { colors: true })).toEqual([
      `\u001B[1m${plain[0] ?? ''}\u001B[0m`,
      `\u001B[32m${plain[1] ?? ''}\u001B[0m`,
      `\u001B[33m${plain[2] ?? ''}\u001B[0m`,
      `\u001B[31m${plain[3] ?? ''}\u001B[0m`,
      `\u001B[31m${plain[4] ?? ''}\u001B[0m`,
    ])
  })
})

test('the line for a log names every follower, its lag and its direction', () => {
  const rows = [
    { shard: 'users', lags: [5] },
    { ...row('a', 3 * MIB, 2 * MIB), seconds: 1.5, connected: true },
    { ...row('b', 0, 100), seconds: 0, connected: false },
  ]
  expect(renderLine(rows)).toBe(
    'users        5 B →   orders/a    2.0 MiB 1.5 s ↓   orders/b      100 B 0.0 s ↑ disconnected',
  )
  expect(renderLine([])).toBe('')
})

test.for([
  [0, '0 B'],
  [1023, '1023 B'],
  [1024, '1.0 KiB'],
  [1023.94 * KIB, '1023.9 KiB'],
  [MIB - 1, '1.0 MiB'],
  [3.25 * MIB, '3.3 MiB'],
  [-1536, '-1.5 KiB'],
  [Number.MAX_SAFE_INTEGER, '8.0 PiB'],
  [2 ** 70, '1048576.0 PiB'],
] as const)('formats %d bytes as %s', ([bytes, text]) => {
  expect(formatBytes(bytes)).toBe(text)
})

test('colors are for terminals, unless the user has set NO_COLOR', () => {
  expect(takesColors({ isTTY: true }, {})).toBe(true)
  expect(takesColors({ isTTY: true }, { NO_COLOR: '' })).toBe(true)
  expect(takesColors({ isTTY: true }, { NO_COLOR: '1' })).toBe(false)
  expect(takesColors({}, {})).toBe(false)
})
