import { describe, expect, test } from 'vitest'
import {
  addReading,
  formatBytes,
  renderLine,
  renderTable,
  takesColors,
} from '../../docs/examples/postgres/table.mjs'

const KIB = 1024
const MIB = 1024 * KIB

const row = (replica: string, ...lags: number[]) => ({ shard: 'orders', replica, lags })

/** The parts of a table that follow from the lags, by replica. */
function drawn(...rows: Parameters<typeof renderTable>[0]) {
  return renderTable(rows)
    .slice(1)
    .map((line) => {
      const [, replica, bar, trend] = / (\S+) +[-\d.]+ \w+ {2}(\S+) +(.*)$/.exec(line) ?? []
      return { replica, full: bar?.replaceAll('░', '').length, trend }
    })
}

describe('a reading', () => {
  test('is added to what was read of each follower before', () => {
    const first = addReading([], [{ shard: 'orders', replica: 'a', lagSeqno: 7 }])
    const second = addReading(first, [
      { shard: 'orders', replica: 'b', lagSeqno: 1 },
      { shard: 'orders', replica: 'a', lagSeqno: 9 },
    ])

    expect(first).toEqual([row('a', 7)])
    expect(second).toEqual([row('a', 7, 9), row('b', 1)])
  })

  test('takes the followers off the table that are gone', () => {
    const rows = [row('a', 1), row('b', 2)]
    expect(addReading(rows, [{ shard: 'orders', replica: 'b', lagSeqno: 3 }])).toEqual([
      row('b', 2, 3),
    ])
    expect(addReading(rows, [])).toEqual([])
  })

  test('keeps followers apart that share a name, or have none', () => {
    const reading = [
      { shard: 'users', lagSeqno: 1 },
      { shard: 'orders', replica: 'a', lagSeqno: 2 },
      { shard: 'orders', lagSeqno: 3 },
      { shard: 'users', replica: 'a', lagSeqno: 4 },
    ]
    expect(addReading(addReading([], reading), reading)).toEqual([
      { shard: 'orders', lags: [3, 3] },
      { shard: 'orders', replica: 'a', lags: [2, 2] },
      { shard: 'users', lags: [1, 1] },
      { shard: 'users', replica: 'a', lags: [4, 4] },
    ])
  })

  test('pushes out the oldest of thirty', () => {
    let rows = addReading([], [])
    for (let lagSeqno = 1; lagSeqno <= 32; lagSeqno++) {
      rows = addReading(rows, [{ shard: 'orders', replica: 'a', lagSeqno }])
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
      row('standby_1', 0, 512 * KIB),
      row('standby_2', 4 * MIB, 2 * MIB),
    ]
    const blank = ' '.repeat(28)
    expect(renderTable(rows)).toEqual([
      'SHARD   REPLICA          LAG                        TREND',
      `orders  -                0 B  ░░░░░░░░░░░░░░░░░░░░  ${blank}▁▁ →`,
      `orders  standby_1  512.0 KiB  ███░░░░░░░░░░░░░░░░░  ${blank}▁▂ ↑`,
      `orders  standby_2    2.0 MiB  ██████████░░░░░░░░░░  ${blank}█▅ ↓`,
    ])
  })

  test('has its heading alone before there is a follower', () => {
    expect(renderTable([])).toEqual(['SHARD  REPLICA  LAG                        TREND'])
  })

  test('goes by the largest lag in sight, also one that is over', () => {
    expect(drawn(row('a', 8 * MIB, 4 * MIB), row('b', 2 * MIB))).toMatchObject([
      { replica: 'a', full: 10 },
      { replica: 'b', full: 5 },
    ])
  })

  test('makes no mountain of what is in flight', () => {
    expect(drawn(row('a', 0, 8 * KIB), row('b', 16 * KIB))).toEqual([
      { replica: 'a', full: 1, trend: '▁▂ ↑' },
      { replica: 'b', full: 1, trend: '▂ →' },
    ])
  })

  test('shows a lag however small, and none where there is none', () => {
    expect(drawn(row('a', 1), row('b', 0), row('c', -5), row('d', 1e15))).toMatchObject([
      { replica: 'a', full: 1 },
      { replica: 'b', full: 0 },
      { replica: 'c', full: 0 },
      { replica: 'd', full: 20 },
    ])
  })

  test('has colours only on demand: by how far behind a follower is', () => {
    const rows = [row('a', 0), row('b', 1 * MIB), row('c', 4 * MIB)]
    const plain = renderTable(rows)
    expect(plain.join('')).not.toContain('\u001B')
    expect(renderTable(rows, { colors: true })).toEqual([
      `\u001B[1m${plain[0] ?? ''}\u001B[0m`,
      `\u001B[32m${plain[1] ?? ''}\u001B[0m`,
      `\u001B[33m${plain[2] ?? ''}\u001B[0m`,
      `\u001B[31m${plain[3] ?? ''}\u001B[0m`,
    ])
  })
})

test('the line for a log names every follower, its lag and where it is going', () => {
  const rows = [{ shard: 'users', lags: [5] }, row('a', 3 * MIB, 2 * MIB), row('b', 0, 100)]
  expect(renderLine(rows)).toBe('users       5 B →   orders/a   2.0 MiB ↓   orders/b     100 B ↑')
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
] as const)('%d bytes are %s', ([bytes, text]) => {
  expect(formatBytes(bytes)).toBe(text)
})

test('colours are for terminals, whose user does not refuse them', () => {
  expect(takesColors({ isTTY: true }, {})).toBe(true)
  expect(takesColors({ isTTY: true }, { NO_COLOR: '' })).toBe(true)
  expect(takesColors({ isTTY: true }, { NO_COLOR: '1' })).toBe(false)
  expect(takesColors({}, {})).toBe(false)
})
