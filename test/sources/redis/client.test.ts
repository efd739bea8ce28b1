import { describe, expect, it } from 'vitest'
import { edit, HISTORY, LEADER, LEADER_WITH_TOOL, REPLICA } from './answers.js'
import { readClient } from './fakes.js'

const row = (fields: string) => `ip=h,port=1,${fields}`
/** What the leader says with these rows. */
const withRows = (...rows: string[]) =>
  edit(LEADER, 'slave0', rows.map((each, i) => (i === 0 ? each : `slave${i}:${each}`)).join('\r\n'))
const seen = async (...rows: string[]) => (await readClient(withRows(...rows))).followers
const CURRENT = 'state=online,offset=151,lag=0'

describe('what a leader sees', () => {
  it('is its offset and those that replicas have acknowledged, in the history of its replication id', async () => {
    expect(await readClient(LEADER)).toEqual({
      shard: 'cache',
      leaderSeqno: 151n,
      epoch: HISTORY,
      followers: [{ replica: '127.0.0.1:37102', connected: true, appliedSeqno: 151n }],
      complete: false,
    })
  })

  it('are no tools', async () => {
    expect((await readClient(LEADER_WITH_TOOL)).followers).toHaveLength(1)
  })

  it.each(['wait_bgsave', 'send_bulk', 'bg_transfer'])(
    'is no position of a replica that synchronizes: %s',
    async (state) => {
      expect(await seen(row(`state=${state},offset=0,lag=0,type=replica`))).toEqual([
        { replica: 'h:1', connected: true },
      ])
    },
  )

  it('is no position of a replica that has not acknowledged anything yet', async () => {
    expect(await seen(row('state=online,offset=0,lag=0'))).toEqual([
      { replica: 'h:1', connected: true },
    ])
    const empty = edit(withRows(row('state=online,offset=0,lag=0')), 'master_repl_offset', '0')
    expect((await readClient(empty)).followers).toEqual([
      { replica: 'h:1', connected: true, appliedSeqno: 0n },
    ])
  })

  it('is one follower where Valkey lists the two connections of a synchronization', async () => {
    const main = row('state=bg_transfer,offset=0,lag=0,type=main-channel')
    const rdb = row('state=online,offset=0,lag=0,type=rdb-channel')
    const synchronizing = [{ replica: 'h:1', connected: true }]
    for (const rows of [[main, rdb], [rdb, main], [rdb]]) {
      expect(await seen(...rows)).toEqual(synchronizing)
    }
    expect(await seen(rdb, row(CURRENT))).toEqual([
      { replica: 'h:1', connected: true, appliedSeqno: 151n },
    ])
  })

  describe('of several replicas with one address', () => {
    const problem = expect.stringMatching(/several replicas.*option nodes/) as string

    it('is the one furthest behind, and a problem', async () => {
      expect(await seen(row('state=online,offset=9,lag=0'), row(CURRENT))).toEqual([
        { replica: 'h:1', connected: true, appliedSeqno: 9n, problem },
      ])
      expect(await seen(row(CURRENT), row('state=online,offset=9,lag=1'))).toEqual([
        { replica: 'h:1', connected: true, appliedSeqno: 9n, problem },
      ])
    })

    it('is no position while one of them has none', async () => {
      for (const other of ['state=online,offset=0,lag=0', 'state=wait_bgsave,offset=0,lag=0']) {
        expect(await seen(row(CURRENT), row(other))).toEqual([
          { replica: 'h:1', connected: true, problem },
        ])
      }
    })
  })

  it('leaves out a row that is invalid, and names it', async () => {
    const rows = [
      row(CURRENT),
      'ip=h,port=2,state=online,offset=-1,lag=0',
      'ip=,port=3,state=online,offset=1,lag=0',
      'nonsense',
      'ip=h,port=5,state=wait_bgsave',
    ]
    expect(await readClient(withRows(...rows))).toMatchObject({
      followers: [{ replica: 'h:1', appliedSeqno: 151n }, { replica: 'h:5' }],
      problem:
        'row slave1 cannot be read: field offset has an invalid value: "-1". ' +
        'row slave2 cannot be read: field ip has an invalid value: "". ' +
        'row slave3 cannot be read: field ip is missing',
    })
  })

  it('is exact beyond 2^53, and ignores fields that it does not need', async () => {
    const large = edit(
      withRows(row('state=online,offset=18446744073709551614,lag=0')),
      'master_repl_offset',
      '18446744073709551615',
    )
    const odd = edit(edit(large, 'second_repl_offset', '???'), 'repl_backlog_histlen', '-7')
    expect(await readClient(odd)).toMatchObject({
      leaderSeqno: 18446744073709551615n,
      followers: [{ appliedSeqno: 18446744073709551614n }],
    })
  })

  it('belongs to another history once the offset has fallen', async () => {
    let answer = LEADER
    const client = { info: () => Promise.resolve(answer) }
    const { redisSource } =
      await import('opentelemetry-instrumentation-replication-lag/sources/redis')
    const source = redisSource({ client, shard: 1 })
    const epochs: (string | undefined)[] = []
    for (const [field, value] of [
      ['master_repl_offset', '152'],
      ['master_repl_offset', '90'],
      ['master_repl_offset', '95'],
      ['master_replid', 'f'.repeat(40)],
    ] as const) {
      answer = edit(answer, field, value)
      epochs.push((await source.read(AbortSignal.timeout(5000))).shards[0]?.epoch)
    }
    expect(epochs).toEqual([HISTORY, `${HISTORY}/1`, `${HISTORY}/1`, 'f'.repeat(40)])
  })

  it('is an error where the client reaches a replica', async () => {
    await expect(readClient(REPLICA)).rejects.toThrow(
      'Redis: the client reaches a replica: give the source all nodes',
    )
  })
})
