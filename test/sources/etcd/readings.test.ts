import { describe, expect, it } from 'vitest'
import { LEADERLESS, MEMBERS, STATUSES } from './answers.js'
import { createFake } from './fakes.js'

const LEARNER = '15f000905820ef7c'
const CLUSTER = BigInt(STATUSES.e1.header.cluster_id).toString(16)

/** Reads once, and returns the only shard. */
async function readShard({ read }: Pick<ReturnType<typeof createFake>, 'read'>) {
  const { shards } = await read()
  const [shard] = shards
  if (!shard) throw new Error('no shard')
  const byName = new Map(shard.followers.map((each) => [each.replica, each]))
  return { ...shard, follower: (name: string) => byName.get(name), names: [...byName.keys()] }
}

describe('a reading', () => {
  it('has each member but the leader, by its name, or by its id before it is started', async () => {
    const { read, change } = createFake()
    change('e2', { raftIndex: '8', raftAppliedIndex: '7' })
    const expected = {
      shard: 'registry',
      leaderSeqno: 9n,
      epoch: `${CLUSTER}/0`,
      followers: [
        {
          replica: LEARNER,
          connected: false,
          problem: 'cannot be read: it is not among the endpoints',
        },
        { replica: 'e2', connected: true, appliedSeqno: 7n, receivedSeqno: 8n },
        { replica: 'e3', connected: true, appliedSeqno: 9n, receivedSeqno: 9n },
      ],
      removed: [],
    }
    expect(await read()).toEqual({ shards: [expected] })
  })

  it('asks the leader once more, after all others', async () => {
    const { read, change, cluster } = createFake()
    const asked: string[] = []
    cluster.onAsk = (host, path) => {
      asked.push(`${host} ${path.split('/').slice(-1).join()}`)
      change('e1', { raftIndex: String(8 + asked.length) })
    }
    const { shards } = await read()
    expect(asked.slice(0, 3).sort()).toEqual(['e1 status', 'e2 status', 'e3 status'])
    expect(asked.slice(3)).toEqual(['e1 list', 'e1 status'])
    expect(shards).toMatchObject([{ leaderSeqno: 13n }])
  })

  it('has a member that does not answer as disconnected, without a position', async () => {
    const fake = createFake()
    delete fake.cluster.statuses['e3']
    const { follower } = await readShard(fake)
    expect(follower('e2')).toMatchObject({ connected: true, appliedSeqno: 9n })
    expect(follower('e3')).toEqual({
      replica: 'e3',
      connected: false,
      problem: 'cannot be read: http://e3:2379/v3/maintenance/status: fetch failed',
    })
  })

  it('has a member that has lost the leader as disconnected, with its position and its errors', async () => {
    const fake = createFake()
    fake.cluster.statuses['e2'] = { ...LEADERLESS, raftAppliedIndex: '4' }
    expect((await readShard(fake)).follower('e2')).toEqual({
      replica: 'e2',
      connected: false,
      appliedSeqno: 4n,
      receivedSeqno: 9n,
      problem: 'etcdserver: no leader',
    })
  })

  it('gives no position to a member that has applied more than the leader has committed', async () => {
    const fake = createFake()
    fake.change('e2', { raftAppliedIndex: '10' })
    expect((await readShard(fake)).follower('e2')).toEqual({
      replica: 'e2',
      connected: true,
      problem: 'it has applied more than the leader has committed: its data is of another cluster',
    })
  })

  it('takes fields that are missing as 0', async () => {
    const fake = createFake()
    const { header, version, leader } = STATUSES.e2
    fake.cluster.statuses['e2'] = { header, version, leader }
    expect((await readShard(fake)).follower('e2')).toMatchObject({ appliedSeqno: 0n })
  })

  it('names members by their ids where a name is shared', async () => {
    const fake = createFake()
    const members = MEMBERS.members.map((each) => ({ ...each, name: 'same' }))
    fake.cluster.members = { members }
    const { names } = await readShard(fake)
    expect(names).toEqual([LEARNER, '4d2c877fd5100e9c', 'dde588b692616e11'])
  })

  it('has only the members that the filter lets through', async () => {
    const seen: unknown[] = []
    const fake = createFake({
      filter: (follower) => {
        seen.push(follower)
        return !follower.isLearner
      },
    })
    expect((await readShard(fake)).names).toEqual(['e2', 'e3'])
    expect(seen).toContainEqual({ replica: LEARNER, memberId: LEARNER, isLearner: true })
  })

  it('fails if the filter does not return a boolean', async () => {
    const fake = createFake({ filter: () => 1 as never })
    await expect(fake.read()).rejects.toThrow(
      'filter: expected a function that returns a boolean, got 1',
    )
  })

  it('names members that have been removed since the last reading, once', async () => {
    const fake = createFake()
    await fake.read()
    fake.cluster.members = { members: MEMBERS.members.filter(({ name }) => name !== 'e3') }
    expect(await readShard(fake)).toMatchObject({ removed: ['e3'] })
    expect(await readShard(fake)).toMatchObject({ removed: [] })
  })
})

describe('the leader', () => {
  it('is the one of the newest term, if a member that was replaced still answers as leader', async () => {
    const fake = createFake()
    for (const host of ['e2', 'e3']) {
      fake.change(host, { leader: STATUSES.e2.header.member_id, raftTerm: '3', raftIndex: '12' })
    }
    const { leaderSeqno, follower } = await readShard(fake)
    expect(leaderSeqno).toBe(12n)
    expect(follower('e1')).toMatchObject({ connected: false, appliedSeqno: 9n })
  })

  it('must be known: a status answers without one too', async () => {
    const fake = createFake()
    for (const host of ['e1', 'e2', 'e3']) fake.change(host, { leader: undefined })
    await expect(fake.read()).rejects.toThrow('etcd has no leader: most of its members must be up')
  })

  it('must still be known when it is asked once more', async () => {
    const fake = createFake()
    fake.cluster.onAsk = (_, path) => {
      if (path.endsWith('list')) fake.change('e1', { leader: undefined })
    }
    await expect(fake.read()).rejects.toThrow('etcd has no leader')
  })

  it('must answer', async () => {
    const fake = createFake()
    delete fake.cluster.statuses['e1']
    await expect(fake.read()).rejects.toThrow(
      /the leader of etcd, member a7[0-9a-f]+, cannot be read: http:\/\/e1:2379.*fetch failed/,
    )
  })

  it('must be among the endpoints', async () => {
    const fake = createFake({ endpoints: ['http://e2', 'http://e3'] })
    await expect(fake.read()).rejects.toThrow(/cannot be read: it is not among the endpoints/)
  })

  it('must be of the cluster of all endpoints', async () => {
    const fake = createFake()
    fake.change('e3', { header: { ...STATUSES.e3.header, cluster_id: '7' } })
    await expect(fake.read()).rejects.toThrow('members of different etcd clusters')
  })

  it('is not found if no endpoint answers, and the error says why for each', async () => {
    const fake = createFake()
    fake.cluster.statuses = {}
    await expect(fake.read()).rejects.toThrow(
      /^no endpoint of etcd can be read: http:\/\/e1:2379\S* fetch failed; http:\/\/e2.*; http:\/\/e3/,
    )
  })

  it('must list the members', async () => {
    const fake = createFake()
    fake.cluster.members = undefined
    await expect(fake.read()).rejects.toThrow(/^http:\/\/e1:2379\/v3\/cluster\/member\/list: /)
  })
})

describe('the epoch', () => {
  const setAll = (fake: ReturnType<typeof createFake>, fields: Record<string, unknown>) => {
    for (const host of ['e1', 'e2', 'e3']) fake.change(host, fields)
  }
  const position = (index: number, term: number) => ({
    raftIndex: String(index),
    raftAppliedIndex: String(index),
    raftTerm: String(term),
  })

  it('stays the same while the index grows, also in another term', async () => {
    const fake = createFake()
    for (const [index, term] of [
      [100, 2],
      [101, 2],
      [101, 3],
      [150, 4],
    ] as const) {
      setAll(fake, position(index, term))
      expect((await readShard(fake)).epoch).toBe(`${CLUSTER}/0`)
    }
  })

  it.each([
    ['index', position(99, 2)],
    ['term', position(200, 1)],
  ])('is another one if the %s falls, as the ids can be the same', async (_, after) => {
    const fake = createFake()
    setAll(fake, position(100, 2))
    await fake.read()
    setAll(fake, after)
    expect((await readShard(fake)).epoch).toBe(`${CLUSTER}/1`)
    expect((await readShard(fake)).epoch).toBe(`${CLUSTER}/1`)
  })

  it('is another one if the cluster has another id', async () => {
    const fake = createFake()
    await fake.read()
    setAll(fake, { header: { cluster_id: '16', member_id: STATUSES.e1.header.member_id } })
    fake.change('e2', { header: { ...STATUSES.e2.header, cluster_id: '16' } })
    fake.change('e3', { header: { ...STATUSES.e3.header, cluster_id: '16' } })
    expect((await readShard(fake)).epoch).toBe('10/0')
  })

  it('waits for a leader that was just elected, and does not know yet what is committed', async () => {
    const fake = createFake()
    setAll(fake, position(100, 2))
    await fake.read()
    setAll(fake, position(98, 3))
    await expect(fake.read()).rejects.toThrow('the leader of etcd was just elected')
    setAll(fake, position(101, 3))
    expect((await readShard(fake)).epoch).toBe(`${CLUSTER}/0`)
  })

  it('is another one if the index of a newer term stays behind', async () => {
    const fake = createFake()
    setAll(fake, position(100, 2))
    await fake.read()
    setAll(fake, position(9, 3))
    await expect(fake.read()).rejects.toThrow('the leader of etcd was just elected')
    expect(await readShard(fake)).toMatchObject({ epoch: `${CLUSTER}/1`, leaderSeqno: 9n })
  })
})

it('a read that is aborted fails with the reason', async () => {
  const { source, cluster } = createFake({ fetch: () => new Promise(() => undefined) })
  expect(cluster.statuses).toHaveProperty('e1')
  const reason = new Error('the deadline')
  const abort = new AbortController()
  const reading = source.read(abort.signal)
  abort.abort(reason)
  await expect(reading).rejects.toBe(reason)
})
