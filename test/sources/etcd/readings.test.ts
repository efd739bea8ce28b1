import { describe, expect, it } from 'vitest'
import { createFake, LEADERLESS, listOf, readShard, STATUSES } from './fakes.js'

const LEARNER = '15f000905820ef7c'
const CLUSTER = BigInt(STATUSES.e1.header.cluster_id).toString(16)
const OTHER_CLUSTER = { header: { ...STATUSES.e3.header, cluster_id: '7' } }

describe('a reading', () => {
  it('has each member but the leader, by its name, or by its id before it is started', async () => {
    const { read, change } = createFake()
    change('e2', { raftIndex: '8', raftAppliedIndex: '7' })
    const comparedWith = { leaderSeqno: 9n, at: expect.any(Number) as number }
    const problem = 'cannot be read: it was never started'
    const expected = {
      shard: 'registry',
      leaderSeqno: 9n,
      epoch: `${CLUSTER}/0`,
      followers: [
        { replica: LEARNER, connected: false, problem },
        { replica: 'e2', connected: true, appliedSeqno: 7n, receivedSeqno: 8n, comparedWith },
        { replica: 'e3', connected: true, appliedSeqno: 9n, receivedSeqno: 9n, comparedWith },
      ],
    }
    expect(await read()).toEqual({ shards: [expected], complete: true })
  })

  it('needs a request for each member, and one for the list', async () => {
    const { read, cluster } = createFake()
    await read()
    const asked: string[] = []
    cluster.onAsk = (host, path) => asked.push(`${host} ${path.split('/').at(-1)}`)
    await read()
    expect(asked).toEqual(['e2 status', 'e3 status', 'e1 status', 'e1 list'])
  })

  it('compares each position with where the leader was when it was read', async () => {
    const fake = createFake()
    await fake.read()
    let answers = 0
    fake.cluster.onAsk = async (host) => {
      if (host === 'e3') await new Promise((resolve) => setTimeout(resolve, 300))
      answers += 10
      fake.change('e1', { raftIndex: `${answers}`, raftAppliedIndex: `${answers}` })
      fake.change(host, { raftIndex: `${answers}`, raftAppliedIndex: `${answers}` })
    }
    const { follower, leaderSeqno } = await readShard(fake)
    const lagOf = (name: string) => {
      const { appliedSeqno, comparedWith } = follower(name) ?? {}
      return BigInt(comparedWith?.leaderSeqno ?? 0) - BigInt(appliedSeqno ?? 0)
    }
    // Only what was written between two requests is a lag.
    expect(lagOf('e2')).toBe(10n)
    expect(lagOf('e3')).toBe(10n)
    expect(leaderSeqno).toBeGreaterThan(BigInt(follower('e2')?.comparedWith?.leaderSeqno ?? 0))
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
    expect((await readShard(fake)).follower('e2')).toMatchObject({
      connected: false,
      appliedSeqno: 4n,
      receivedSeqno: 9n,
      problem: 'etcdserver: no leader',
    })
  })

  it('takes fields that are missing as 0', async () => {
    const fake = createFake()
    const { header, version, leader } = STATUSES.e2
    fake.cluster.statuses['e2'] = { header, version, leader }
    expect((await readShard(fake)).follower('e2')).toMatchObject({ appliedSeqno: 0n })
  })

  const [ID_2, ID_3] = ['4d2c877fd5100e9c', 'dde588b692616e11']
  const shared = (name: unknown) => ({ e1: { name }, e2: { name }, e3: { name } })
  it.each<[string, Record<string, Record<string, unknown>>, string[]]>([
    ['is shared', shared('same'), [LEARNER, ID_2, ID_3]],
    ['is empty', shared(''), [LEARNER, ID_2, ID_3]],
    ['is a number', shared(7), [LEARNER, ID_2, ID_3]],
    ['is too long', shared('x'.repeat(2000)), [LEARNER, ID_2, ID_3]],
    ['is the id of another one', { e2: { name: LEARNER } }, [LEARNER, ID_2, 'e3']],
  ])('names a member by its id where its name %s', async (_, changes, names) => {
    const fake = createFake()
    fake.cluster.members = listOf(changes)
    expect((await readShard(fake)).names).toEqual(names)
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

  it('lacks a member that was removed, and is complete', async () => {
    const fake = createFake()
    await fake.read()
    const { members } = listOf()
    fake.cluster.members = { members: members.filter(({ name }) => name !== 'e3') }
    delete fake.cluster.statuses['e3']
    const { names, complete, problem } = await readShard(fake)
    expect(names).toEqual([LEARNER, 'e2'])
    expect(complete).toBe(true)
    // Its endpoint can be taken out.
    expect(problem).toBe('http://e3:2379/v3/maintenance/status: fetch failed')
  })
})

describe('a member that cannot be compared', () => {
  it('is diverged if it has applied more than the leader has committed', async () => {
    const fake = createFake()
    await fake.read()
    fake.change('e2', { raftAppliedIndex: '10' })
    fake.change('e3', { raftIndex: '10', errors: ['alarm:CORRUPT'] })
    const { follower } = await readShard(fake)
    expect(follower('e2')).toEqual({
      replica: 'e2',
      connected: true,
      diverged: true,
      problem: expect.stringMatching(/^it is ahead of its leader/) as string,
    })
    expect(follower('e3')).toMatchObject({
      diverged: true,
      problem: expect.stringMatching(/^it is ahead of its leader.*; alarm:CORRUPT$/) as string,
    })
  })

  it('is not diverged while its leader was just elected, and has no position', async () => {
    const fake = createFake()
    await fake.read()
    fake.changeAll({ raftTerm: '3' })
    fake.change('e2', { raftIndex: '10', raftAppliedIndex: '10' })
    expect((await readShard(fake)).follower('e2')).toEqual({ replica: 'e2', connected: true })
  })

  it('is diverged if it is of another cluster, and the endpoint is named if it is of no member', async () => {
    const fake = createFake({
      endpoints: ['http://x:1', 'http://e1:2379', 'http://e2:2379', 'http://e3:2379'],
    })
    await fake.read()
    fake.change('e3', OTHER_CLUSTER)
    fake.change('x', OTHER_CLUSTER)
    const { follower, problem } = await readShard(fake)
    expect(follower('e2')).toMatchObject({ connected: true, appliedSeqno: 9n })
    expect(follower('e3')).toEqual({
      replica: 'e3',
      connected: false,
      diverged: true,
      problem: 'cannot be read: http://e3:2379 is the URL of another cluster, 7',
    })
    expect(problem).toBe('http://x:1 is the URL of another cluster, 7')
  })

  it('does not take the place of the cluster when no member answers', async () => {
    const fake = createFake({ endpoints: ['http://e1:2379', 'http://e2:2379', 'http://x:1'] })
    fake.change('x', { ...STATUSES.e1, header: { ...STATUSES.e1.header, cluster_id: '7' } })
    await fake.read()
    fake.cluster.statuses = { x: fake.cluster.statuses['x'] }
    await expect(fake.read()).rejects.toThrow(
      /^none of the etcd endpoints can be read: .*; http:\/\/x:1 is the URL of another cluster, 7/,
    )
  })

  it('has no position if the leader has not answered since', async () => {
    const fake = createFake()
    let isAsked = false
    fake.cluster.onAsk = async (host, path) => {
      if (host === 'e3') await new Promise((resolve) => setTimeout(resolve, 200))
      if (host !== 'e1' || !path.endsWith('status')) return
      if (isAsked) throw new TypeError('fetch failed')
      isAsked = true
    }
    const { follower, leaderSeqno } = await readShard(fake)
    expect(leaderSeqno).toBe(9n)
    expect(follower('e3')).toEqual({ replica: 'e3', connected: true })
  })
})

describe('the leader', () => {
  it('is the one of the newest term, if a member that was replaced still answers as leader', async () => {
    const fake = createFake()
    for (const host of ['e2', 'e3']) {
      fake.change(host, { leader: STATUSES.e2.header.member_id, raftTerm: '3', raftIndex: '12' })
    }
    const { leaderSeqno, follower, names } = await readShard(fake)
    expect(leaderSeqno).toBe(12n)
    expect(names).not.toContain('e2')
    expect(follower('e1')).toMatchObject({ connected: false, appliedSeqno: 9n })
  })

  it('is not a follower after a failover, and the old one that is down is', async () => {
    const fake = createFake()
    await fake.read()
    delete fake.cluster.statuses['e1']
    await expect(fake.read()).rejects.toThrow('the leader of etcd, member e1')
    for (const host of ['e2', 'e3']) {
      fake.change(host, { leader: STATUSES.e3.header.member_id, raftTerm: '3', raftIndex: '12' })
    }
    const { names, follower } = await readShard(fake)
    expect(names).toEqual([LEARNER, 'e2', 'e1'])
    expect(follower('e1')).toMatchObject({ connected: false })
    expect(follower('e2')).toMatchObject({ connected: true })
  })

  it('must be known, even to itself: a status answers without one too', async () => {
    const fake = createFake()
    fake.change('e1', { leader: undefined })
    await expect(fake.read()).rejects.toThrow('etcd has no leader')
    fake.changeAll({ leader: undefined })
    await expect(fake.read()).rejects.toThrow('etcd has no leader: most of its members must be up')
  })

  it('must answer', async () => {
    const fake = createFake()
    delete fake.cluster.statuses['e1']
    await expect(fake.read()).rejects.toThrow(
      /the leader of etcd, member e1, a7[0-9a-f]+, cannot be read: http:\/\/e1:2379.*fetch failed/,
    )
  })

  it('is not found if no endpoint answers, and the error says why for each', async () => {
    const fake = createFake()
    fake.cluster.statuses = {}
    await expect(fake.read()).rejects.toThrow(
      /^none of the etcd endpoints can be read: http:\/\/e1:2379\S* fetch failed; http:\/\/e2.*; http:\/\/e3/,
    )
  })
})

describe('the list of the members', () => {
  it('must be known', async () => {
    const fake = createFake()
    fake.cluster.members = undefined
    await expect(fake.read()).rejects.toThrow(
      /^the members of etcd cannot be listed: http:\/\/e1:2379\/v3\/cluster\/member\/list: /,
    )
  })

  it.each([[undefined], [{ members: [] }], [{ members: 7 }]])(
    'is the last known one while it cannot be read, and the reading is then not complete',
    async (members) => {
      const fake = createFake()
      await fake.read()
      fake.cluster.members = members
      const { complete, names, problem } = await readShard(fake)
      expect(complete).toBe(false)
      expect(names).toEqual([LEARNER, 'e2', 'e3'])
      expect(problem).toMatch(/^the members cannot be listed: http:\/\/e1:2379/)
    },
  )

  it('can have an entry that is invalid: the others are reported, and the reading is not complete', async () => {
    const fake = createFake()
    fake.cluster.members = listOf({ e2: { ID: '-1' }, e3: { clientURLs: 7, isLearner: 'x' } })
    const { complete, names, problem } = await readShard(fake)
    expect(complete).toBe(false)
    expect(names).toEqual([LEARNER, 'e3'])
    expect(problem).toContain('field ID has an invalid value: "-1"')
  })
})

describe('the epoch', () => {
  const position = (index: number, term: number) => ({
    raftIndex: String(index),
    raftAppliedIndex: String(index),
    raftTerm: String(term),
  })

  it('stays the same while the index grows, even in another term', async () => {
    const fake = createFake()
    for (const each of [position(100, 2), position(101, 2), position(101, 3), position(150, 4)]) {
      fake.changeAll(each)
      expect((await readShard(fake)).epoch).toBe(`${CLUSTER}/0`)
    }
  })

  it.each([
    ['index', position(99, 2)],
    ['term', position(200, 1)],
  ])('is another one if the %s falls, as the ids can be the same', async (_, after) => {
    const fake = createFake()
    fake.changeAll(position(100, 2))
    await fake.read()
    fake.changeAll(after)
    expect((await readShard(fake)).epoch).toBe(`${CLUSTER}/1`)
    expect((await readShard(fake)).epoch).toBe(`${CLUSTER}/1`)
  })

  it('is another one if the cluster has another id, even while it cannot be listed', async () => {
    const fake = createFake()
    await fake.read()
    for (const [host, { header }] of Object.entries(STATUSES))
      fake.change(host, { header: { ...header, cluster_id: '16' } })
    expect((await readShard(fake)).epoch).toBe('10/0')
    fake.changeAll(STATUSES.e1)
    fake.cluster.members = undefined
    await expect(fake.read()).rejects.toThrow('the members of etcd cannot be listed')
  })

  it.each([
    ['is the same once it has caught up', 98, 101, `${CLUSTER}/0`],
    ['is another one if its index stays behind', 9, 9, `${CLUSTER}/1`],
  ])('waits for a leader that was just elected, and %s', async (_, first, next, epoch) => {
    const fake = createFake()
    fake.changeAll(position(100, 2))
    await fake.read()
    fake.changeAll(position(first, 3))
    await expect(fake.read()).rejects.toThrow('the leader of etcd has just been elected')
    fake.changeAll(position(next, 3))
    expect(await readShard(fake)).toMatchObject({ epoch, leaderSeqno: BigInt(next) })
  })
})
