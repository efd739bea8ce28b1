import { redisSource } from 'opentelemetry-instrumentation-replication-lag/sources/redis'
import { describe, expect, it } from 'vitest'
import {
  edit,
  failing,
  HISTORY,
  LEADER,
  LEADER_WITH_TOOL,
  nodesReader,
  PROMOTED,
  readClient,
  REPLICA,
  REPLICA_ALONE,
  slowerThanLeader,
} from './fakes.js'

const OTHER = 'f'.repeat(40)
const comparedWith = { leaderSeqno: 151n, at: expect.any(Number) as number }

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

    const behind = 'state=online,offset=9,lag=0'
    it.each([
      ['the one furthest behind', [behind, CURRENT], { appliedSeqno: 9n }],
      ['the one furthest behind', [CURRENT, behind], { appliedSeqno: 9n }],
      ['none while one has not acknowledged', [CURRENT, 'state=online,offset=0,lag=0'], {}],
      ['none while one synchronizes', [CURRENT, 'state=wait_bgsave,offset=0,lag=0'], {}],
    ])('is %s, and a problem: %j', async (_, rows, position) => {
      expect(await seen(...rows.map(row))).toEqual([
        { replica: 'h:1', connected: true, ...position, problem },
      ])
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

describe('a replica among nodes', () => {
  const followers = async (answer: Parameters<typeof readClient>[0], leader = LEADER) =>
    (await nodesReader()({ n1: leader, n2: answer })).followers

  it('has its configured name, what it has applied and what it has received', async () => {
    const behind = edit(REPLICA, 'slave_repl_offset', '100')
    const positions = { appliedSeqno: 100n, receivedSeqno: 151n, comparedWith }
    expect(await nodesReader()({ n1: LEADER, n2: behind })).toEqual({
      shard: 'cache',
      leaderSeqno: 151n,
      epoch: HISTORY,
      followers: [{ replica: 'n2', connected: true, ...positions }],
      complete: true,
    })
  })

  it('has not said what it has received before Redis 7.0', async () => {
    const old = REPLICA.replace('slave_read_repl_offset:151\r\n', '')
    expect(await followers(old)).toEqual([
      { replica: 'n2', connected: true, appliedSeqno: 151n, comparedWith },
    ])
  })

  it('is compared with where its leader was when it answered', async () => {
    const answer = (asked: number) => edit(LEADER, 'master_repl_offset', `${1000 + asked}`)
    const { leader, slow } = slowerThanLeader(answer, REPLICA)
    const read = nodesReader()
    await read({ n1: leader, n2: REPLICA, n3: slow })
    const { leaderSeqno, followers } = await read({})
    const moments = followers?.map((each) => each.comparedWith?.leaderSeqno)
    expect(moments?.[1]).toBe(leaderSeqno)
    expect(Number(leaderSeqno) - Number(moments?.[0])).toBe(1)
  })

  it('has no position that can be compared if its leader has not answered since', async () => {
    let asked = 0
    const leader = {
      info: () => (asked++ === 0 ? Promise.resolve(LEADER) : new Promise<never>(() => undefined)),
    }
    expect(await nodesReader()({ n1: leader, n2: REPLICA })).toMatchObject({
      leaderSeqno: 151n,
      followers: [{ replica: 'n2', connected: true }],
    })
  })

  it('is disconnected and keeps its position when its leader is gone', async () => {
    const positions = { appliedSeqno: 151n, receivedSeqno: 151n, comparedWith }
    const problem = 'it has no connection to its leader'
    expect(await followers(REPLICA_ALONE)).toEqual([
      { replica: 'n2', connected: false, ...positions, problem },
    ])
  })

  it('has no position while it synchronizes', async () => {
    const down = edit(REPLICA, 'master_link_status', 'down')
    expect(await followers(edit(down, 'master_sync_in_progress', '1'))).toEqual([
      { replica: 'n2', connected: true },
    ])
  })

  it('has diverged if it follows another history', async () => {
    const problem = `it has another history than n1: its master_replid is ${OTHER}`
    expect(
      (await nodesReader()({ n1: LEADER, n2: edit(REPLICA, 'master_replid', OTHER), n3: REPLICA }))
        .followers,
    ).toMatchObject([
      { replica: 'n2', connected: true, diverged: true, problem },
      { replica: 'n3', connected: true, appliedSeqno: 151n },
    ])
    expect(await followers(edit(REPLICA_ALONE, 'master_replid', OTHER))).toEqual([
      {
        replica: 'n2',
        connected: false,
        diverged: true,
        problem: `it has no connection to its leader. ${problem}`,
      },
    ])
  })

  it.each([
    ['is ahead of its leader', LEADER],
    ['has more of a history than its leader continued', PROMOTED],
  ])('has diverged if it %s', async (_, leader) => {
    const problem = 'it has data that n1 does not have'
    expect(await followers(edit(REPLICA, 'slave_repl_offset', '152'), leader)).toEqual([
      { replica: 'n2', connected: true, diverged: true, problem },
    ])
  })

  it('is comparable with a leader that has continued its history, up to there', async () => {
    expect(await followers(REPLICA, PROMOTED)).toMatchObject([{ appliedSeqno: 151n }])
  })

  it('is disconnected, with the reason, when it cannot be read', async () => {
    expect(await followers(failing(new Error('Connection is closed.')))).toEqual([
      {
        replica: 'n2',
        connected: false,
        problem:
          'cannot be read: Connection is closed.: check host, port and server, and whether the port expects TLS',
      },
    ])
    expect(await followers('nonsense')).toMatchObject([
      {
        connected: false,
        problem: expect.stringMatching(/^cannot be read: field role is missing/) as string,
      },
    ])
  })

  it('keeps what is valid of its answer, and names a field that is not', async () => {
    const invalid = 'has an invalid value: "-1"'
    expect(await followers(edit(REPLICA, 'slave_read_repl_offset', '-1'))).toEqual([
      {
        replica: 'n2',
        connected: true,
        appliedSeqno: 151n,
        comparedWith,
        problem: `field slave_read_repl_offset ${invalid}`,
      },
    ])
    expect(await followers(edit(REPLICA, 'slave_repl_offset', '-1'))).toEqual([
      { replica: 'n2', connected: true, problem: `field slave_repl_offset ${invalid}` },
    ])
    const odd = edit(edit(REPLICA, 'master_repl_offset', '-1'), 'slave_priority', 'high')
    expect(await followers(odd)).toMatchObject([{ appliedSeqno: 151n }])
  })
})

describe('the leader', () => {
  const formerOf = (answer: string, id: string, end = '152') =>
    edit(edit(answer, 'master_replid2', id), 'second_repl_offset', end)
  /** One that nothing follows. */
  const alone = (id: string) =>
    edit(LEADER, 'connected_slaves', '0')
      .replace(/slave0:.*\r\n/, '')
      .replace(HISTORY, id)
  const follower = (id: string) => edit(REPLICA, 'master_replid', id)
  const names = ({ followers }: Awaited<ReturnType<typeof readClient>>) =>
    followers?.map(({ replica }) => replica)

  it('is found among the nodes, and is never its own follower', async () => {
    const read = nodesReader()
    expect(names(await read({ n1: REPLICA, n2: LEADER, n3: REPLICA }))).toEqual(['n1', 'n3'])
    const unreachable = failing(new Error('Connection is closed.'))
    await expect(read({ n2: unreachable })).rejects.toThrow(
      /^Redis: no node leads: n2: Connection is closed.: check host, port and server/,
    )
    // n1 was promoted, and n3 has not followed it yet.
    const promoted = await read({ n1: PROMOTED, n3: REPLICA_ALONE })
    expect(names(promoted)).toEqual(['n2', 'n3'])
    expect(promoted.problem).toBeUndefined()
    expect(promoted.epoch).not.toBe(HISTORY)
  })

  it('is followed by itself through a failover, also once the former leader is back', async () => {
    const read = nodesReader()
    await read({ n1: LEADER, n2: REPLICA })
    const both = await read({ n1: alone(HISTORY), n2: PROMOTED })
    expect(both).toMatchObject({
      followers: [{ replica: 'n1', connected: false, diverged: true }],
      problem: expect.stringMatching(
        /^n1 and n2 claim to lead, and the lag is behind n2\./,
      ) as string,
    })
    const { followers, problem } = await read({
      n1: edit(REPLICA, 'master_replid', both.epoch ?? ''),
    })
    expect(followers).toMatchObject([{ replica: 'n1', connected: true, appliedSeqno: 151n }])
    expect(problem).toBeUndefined()
  })

  it('is not a replica that has forgotten its leader', async () => {
    const read = nodesReader()
    await read({ n1: LEADER, n2: REPLICA, n3: REPLICA })
    const forgetful = alone(OTHER)
    expect(await read({ n3: forgetful })).toMatchObject({
      epoch: HISTORY,
      followers: [
        { replica: 'n2', appliedSeqno: 151n },
        { replica: 'n3', connected: false, diverged: true },
      ],
      problem: expect.stringMatching(
        /^n1 and n3 claim to lead, and the lag is behind n1\./,
      ) as string,
    })
    const gone = failing(new Error('Connection is closed.'))
    await expect(read({ n1: gone, n2: REPLICA_ALONE })).rejects.toThrow(
      /n3 claims to lead, but no node follows it, and it has a history of its own$/,
    )
    // At the start of the process too, while another one is followed.
    await expect(nodesReader()({ n2: REPLICA, n3: forgetful })).rejects.toThrow(/n3 claims to lead/)
  })

  it('can be the same one with another history, or the only one there is', async () => {
    const read = nodesReader()
    await read({ n1: LEADER, n2: REPLICA })
    expect((await read({ n1: alone(OTHER), n2: REPLICA_ALONE })).epoch).toBe(OTHER)
    expect((await nodesReader()({ n1: alone(OTHER) })).followers).toEqual([])
    const restarted = formerOf(alone(OTHER), HISTORY)
    expect((await nodesReader()({ n1: restarted, n2: REPLICA })).followers).toMatchObject([
      { appliedSeqno: 151n },
    ])
  })

  it.each([
    ['others follow', { n1: alone(HISTORY), n2: alone(OTHER), n3: follower(OTHER) }, 'n2'],
    ['sees replicas', { n1: alone(HISTORY), n2: edit(LEADER, 'master_replid', OTHER) }, 'n2'],
    ['was promoted', { n1: alone(HISTORY), n2: PROMOTED }, 'n2'],
    ['was promoted', { n1: PROMOTED, n2: alone(HISTORY) }, 'n1'],
  ])('is, of two that claim to lead, the one that %s', async (_, nodes, leader) => {
    const found = await nodesReader()(nodes)
    expect(found.problem).toContain(`n1 and n2 claim to lead, and the lag is behind ${leader}`)
    expect(names(found)).not.toContain(leader)
  })

  it('is the last one, of two that nothing distinguishes', async () => {
    const read = nodesReader()
    await read({ n1: REPLICA, n2: LEADER, n3: REPLICA })
    const split = edit(PROMOTED, 'master_replid', OTHER)
    const { problem } = await read({ n1: split, n3: follower(OTHER) })
    expect(problem).toContain('behind n1')
    const tied = await read({
      n2: edit(LEADER, 'slave0', 'ip=h,port=1,state=online,offset=1,lag=0'),
    })
    expect(tied.problem).toContain('behind n1')
  })

  it('is not known while two that nothing distinguishes claim to lead, and there is no lag then', async () => {
    const nodes = { n1: alone(HISTORY), n2: alone(OTHER), n3: REPLICA_ALONE }
    expect(await nodesReader()(nodes)).toEqual({
      shard: 'cache',
      followers: [
        { replica: 'n3', connected: false, problem: 'it has no connection to its leader' },
      ],
      problem:
        'n1 and n2 claim to lead, so there is no lag. Check which one the clients write to. ' +
        'Each shard of a cluster needs a source of its own',
      complete: true,
    })
  })

  it('is missing if all nodes follow another one', async () => {
    await expect(nodesReader()({ n1: REPLICA, n2: REPLICA })).rejects.toThrow(
      'Redis: no node leads: all of them follow another one, which nodes must have too',
    )
  })

  it('has a position that is compared only in its current history', async () => {
    const restarted = edit(LEADER, 'master_replid', OTHER)
    const { leader, slow } = slowerThanLeader((n) => (n <= 2 ? LEADER : restarted), REPLICA)
    const { epoch, followers } = await nodesReader()({ n1: leader, n2: REPLICA, n3: slow })
    expect(epoch).toBe(OTHER)
    expect(followers).toMatchObject([
      { replica: 'n2', connected: true },
      { replica: 'n3', diverged: true },
    ])
    expect(followers?.[0]).not.toHaveProperty('appliedSeqno')
  })

  it('cannot be read where its position is invalid, and is named', async () => {
    await expect(
      nodesReader()({ n1: edit(LEADER, 'master_repl_offset', '-1'), n2: REPLICA }),
    ).rejects.toThrow('Redis: n1: field master_repl_offset has an invalid value: "-1"')
  })
})
