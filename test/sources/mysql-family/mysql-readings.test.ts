import {
  mysqlSource,
  type MysqlSourceOptions,
} from 'opentelemetry-instrumentation-replication-lag/sources/mysql'
import { describe, expect, it } from 'vitest'
import { FakeClient, read, serverError } from './fakes.js'
import { CHANNEL, ERRANT, FOLLOWER, FOLLOWER_UUID, LEADER, LEADER_UUID } from './mysql-answers.js'

const A = '11111111-1111-1111-1111-111111111111'
const B = '22222222-2222-2222-2222-222222222222'
const REFUSED = serverError(1142, 'ER_TABLEACCESS_DENIED_ERROR', 'SELECT command denied')

/** Reads the only follower of a leader. */
async function readOne(
  follower: FakeClient,
  leader = new FakeClient([LEADER]),
  more: Partial<MysqlSourceOptions> = {},
) {
  const source = mysqlSource({ leader, followers: { r1: follower }, shard: 'a', ...more })
  const { shards } = await read(source)
  return { shards, follower: shards[0]?.followers[0] }
}

describe('a follower', () => {
  it.each(['mysql2', 'mariadb'] as const)(
    'has applied and received what its leader has too, with answers of %s',
    async (form) => {
      const leader = new FakeClient([LEADER], [], form)
      const { shards } = await readOne(new FakeClient([FOLLOWER], [CHANNEL], form), leader)
      expect(shards).toEqual([
        {
          shard: 'a',
          leaderSeqno: 111n,
          followers: [{ replica: 'r1', connected: true, appliedSeqno: 11n, receivedSeqno: 110n }],
          removed: [],
        },
      ])
    },
  )

  it('is read before its leader', async () => {
    const order: string[] = []
    const ask = (name: string, client: FakeClient) => ({
      query: (sql: string) => {
        order.push(name)
        return client.query(sql)
      },
    })
    const followers = { r1: ask('follower', new FakeClient([FOLLOWER], [CHANNEL])) }
    await read(
      mysqlSource({ leader: ask('leader', new FakeClient([LEADER])), followers, shard: 'a' }),
    )
    expect(order).toEqual(['follower', 'follower', 'leader'])
  })

  it('has no received seqno and counts as connected without the right to see it', async () => {
    expect((await readOne(new FakeClient([FOLLOWER], REFUSED))).follower).toEqual({
      replica: 'r1',
      connected: true,
      appliedSeqno: 11n,
    })
  })

  it('has applied nothing while its set is empty', async () => {
    const empty = { ...FOLLOWER, gtid_executed: '' }
    const { follower } = await readOne(new FakeClient([empty], [CHANNEL]))
    expect(follower).toMatchObject({ appliedSeqno: 0n, receivedSeqno: 99n })
  })

  it.each([
    [[], 'it is not set up as a replica'],
    [
      [{ ...CHANNEL, service_state: 'CONNECTING', last_error_number: '2003' }],
      'its receiver is CONNECTING, last error 2003',
    ],
  ])('is not connected if no channel is on: %#', async (channels, problem) => {
    const { follower } = await readOne(new FakeClient([FOLLOWER], channels))
    expect(follower).toMatchObject({ connected: false, appliedSeqno: 11n, problem })
  })

  it('is connected if the channel from its leader is on, whatever others are', async () => {
    const other = { ...CHANNEL, source_uuid: B, service_state: 'OFF' }
    const read = async (...channels: unknown[]) =>
      (await readOne(new FakeClient([FOLLOWER], channels))).follower?.connected
    expect(await read(other, CHANNEL)).toBe(true)
    expect(
      await read({ ...other, service_state: 'ON' }, { ...CHANNEL, service_state: 'OFF' }),
    ).toBe(false)
    // A cascade: its channel is from another server.
    expect(await read({ ...other, service_state: 'ON' })).toBe(true)
  })

  it('has a problem and a lag if it has transactions of its own', async () => {
    const leader = new FakeClient([LEADER])
    const { follower } = await readOne(new FakeClient([ERRANT], [CHANNEL]), leader)
    expect(follower).toEqual({
      replica: 'r1',
      connected: true,
      appliedSeqno: 11n,
      receivedSeqno: 110n,
      problem: `it has transactions that its leader does not have, of ${FOLLOWER_UUID}`,
    })
    expect(leader.queries).toHaveLength(2)
  })

  it('has no problem if its leader commits what it has already applied', async () => {
    const ahead = { ...FOLLOWER, gtid_executed: `${LEADER_UUID}:1-109:blue:1-3` }
    const later = { ...LEADER, gtid_executed: `${LEADER_UUID}:1-110:blue:1-3` }
    const { shards } = await readOne(
      new FakeClient([ahead], [CHANNEL]),
      new FakeClient([LEADER, later]),
    )
    expect(shards).toMatchObject([{ leaderSeqno: 113n, followers: [{ appliedSeqno: 112n }] }])
    expect(shards[0]?.followers[0]).not.toHaveProperty('problem')
  })

  it.each([
    ['its leader has lost', { gtid_executed: `${LEADER_UUID}:1-109` }, /its leader has lost/],
    ['gtid_mode is OFF', { gtid_mode: 'OFF' }, /^its gtid_mode is OFF$/],
    [
      'it has the UUID of its leader',
      { server_uuid: LEADER_UUID.toUpperCase() },
      /^its server_uuid/,
    ],
  ])('has no position if %s', async (_, change, problem) => {
    const { follower } = await readOne(new FakeClient([{ ...FOLLOWER, ...change }], [CHANNEL]))
    expect(follower).toEqual({
      replica: 'r1',
      connected: true,
      problem: expect.stringMatching(problem) as string,
    })
  })

  it('has no position if another follower has its UUID', async () => {
    const followers = Object.fromEntries(
      ['r1', 'r2', 'r3'].map((name) => [
        name,
        new FakeClient([{ ...FOLLOWER, server_uuid: name === 'r3' ? B : FOLLOWER_UUID }]),
      ]),
    )
    const { shards } = await readOne(new FakeClient([]), undefined, { followers })
    const positions = shards[0]?.followers.map(({ appliedSeqno }) => appliedSeqno)
    expect(positions).toEqual([undefined, undefined, 11n])
  })

  it('is not reported if it is the leader, as after a failover', async () => {
    const leader = new FakeClient([LEADER])
    const followers = { r1: new FakeClient([FOLLOWER]), r2: new FakeClient([LEADER]) }
    const reading = await read(mysqlSource({ leader, followers, shard: 'a' }))
    expect(reading).toMatchObject({
      shards: [{ followers: [{ replica: 'r1', appliedSeqno: 11n }], removed: ['r2'] }],
      note: 'not followers but the leader: r2',
    })
  })

  it('is left out by the filter', async () => {
    const followers = { r1: new FakeClient([FOLLOWER]), r2: new FakeClient([FOLLOWER]) }
    const filter = ({ replica }: { replica: string }) => replica === 'r2'
    const { shards } = await readOne(new FakeClient([]), undefined, { followers, filter })
    expect(shards[0]?.followers).toMatchObject([{ replica: 'r2', appliedSeqno: 11n }])
  })
})

describe('a GTID set', () => {
  it.each([
    ['one transaction', `${A}:7`, 1n],
    ['several intervals', `${A}:1-3:5:7-9`, 7n],
    ['several servers', `${A}:1-3,${B}:1-4`, 7n],
    ['line breaks and white space', ` ${A}:1-3 ,\n${B} : 1 - 4\n`, 7n],
    ['upper case', `${A.replaceAll('1', 'A')}:1,${A.replaceAll('1', 'a')}:1-2`, 2n],
    ['one server twice', `${A}:1-2,${A}:5-6`, 4n],
    ['intervals that overlap, touch, and are in no order', `${A}:5-9:1-3:2-6:10`, 10n],
    ['an interval in another', `${A}:1-9:2-3`, 9n],
    ['tags', `${A}:1-2:blue:1-4:red_2:7,${B}:blue:1`, 8n],
    ['one tag twice', `${A}:blue:1-2:BLUE:2-3`, 3n],
    ['commas without anything between', `,${A}:1,,`, 1n],
    ['numbers up to the limit of the server', `${A}:1-9223372036854775806`, 2n ** 63n - 2n],
  ])('is counted with %s', async (_, gtid_executed, size) => {
    const leader = new FakeClient([{ ...LEADER, gtid_executed }])
    const same = new FakeClient([{ ...FOLLOWER, gtid_executed }])
    const { shards } = await readOne(same, leader)
    expect(shards).toMatchObject([{ leaderSeqno: size, followers: [{ appliedSeqno: size }] }])
    expect(shards[0]?.followers[0]).toMatchObject({ connected: false })
  })

  it.each([
    [`${A}:1-9`, `${A}:1-4:6-9`, 8n],
    [`${A}:1-4:6-9`, `${A}:4-6`, 2n],
    [`${A}:1-4:8-9`, `${A}:5-7`, 0n],
    [`${A}:1-4`, `${B}:1-4`, 0n],
    [`${A}:1-4:blue:1-4`, `${A}:blue:2`, 1n],
    [`${A}:1-4,${B}:1-2`, `${B}:1-9,${A}:2`, 3n],
  ])('has in common: %s and %s', async (gtid_executed, other, common) => {
    const leader = new FakeClient([{ ...LEADER, gtid_executed }])
    const follower = new FakeClient([{ ...FOLLOWER, gtid_executed: other }])
    expect((await readOne(follower, leader)).follower).toMatchObject({ appliedSeqno: common })
  })
})
