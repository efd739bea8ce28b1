import fc from 'fast-check'
import { etcdSource } from 'opentelemetry-instrumentation-replication-lag/sources/etcd'
import { describe, expect, it } from 'vitest'
import { describeOptions } from '../shared/describe-options.js'
import { mutated, validate } from '../shared/fakes.js'
import { createFake, LEADERLESS, listOf, readShard, STATUSES } from './fakes.js'

type Fake = ReturnType<typeof createFake>

const LEARNER = '15f000905820ef7c'
const CLUSTER = BigInt(STATUSES.e1.header.cluster_id).toString(16)
const MAX = 2n ** 64n - 1n
const HEALTHY = { connected: true, appliedSeqno: 9n }
const inCluster7 = ({ header }: typeof STATUSES.e1) => ({ header: { ...header, cluster_id: '7' } })
const containing = (text: string) => expect.stringContaining(text) as string

/** Reads, changes what the members answer, and reads again. */
async function readAfter(change: (fake: Fake) => unknown) {
  const fake = createFake()
  await fake.read()
  change(fake)
  return readShard(fake)
}

/** Makes another member lead, as e2 and e3 know it. */
function elect({ change }: Fake, leader: 'e2' | 'e3') {
  const elected = { leader: STATUSES[leader].header.member_id, raftTerm: '3', raftIndex: '12' }
  for (const host of ['e2', 'e3']) change(host, elected)
}

describe('a reading', () => {
  it('has each member but the leader, by its name, or by its id before it is started', async () => {
    const { read, change } = createFake()
    change('e2', { raftIndex: '8', raftAppliedIndex: '7' })
    const comparedWith = { leaderSeqno: 9n, at: expect.any(Number) as number }
    const problem = 'cannot be read: it was never started'
    const followers = [
      { replica: LEARNER, connected: false, problem },
      { replica: 'e2', connected: true, appliedSeqno: 7n, receivedSeqno: 8n, comparedWith },
      { replica: 'e3', connected: true, appliedSeqno: 9n, receivedSeqno: 9n, comparedWith },
    ]
    const shard = { shard: 'registry', leaderSeqno: 9n, epoch: `${CLUSTER}/0`, followers }
    expect(await read()).toEqual({ shards: [shard], complete: true })
  })

  it('needs a request for each member, and one for the list', async () => {
    const asked: string[] = []
    const onAsk = (host: string, path: string) => asked.push(`${host} ${path.split('/').at(-1)}`)
    await readAfter(({ cluster }) => (cluster.onAsk = onAsk))
    expect(asked).toEqual(['e2 status', 'e3 status', 'e1 status', 'e1 list'])
  })

  it('has a member that does not answer as disconnected, without a position', async () => {
    const { follower } = await readAfter(({ cluster }) => delete cluster.statuses['e3'])
    const problem = 'cannot be read: http://e3:2379/v3/maintenance/status: fetch failed'
    expect(follower('e2')).toMatchObject(HEALTHY)
    expect(follower('e3')).toEqual({ replica: 'e3', connected: false, problem })
  })

  it('has a member that has lost the leader as disconnected, with its position and its errors', async () => {
    const { follower } = await readAfter(({ cluster }) => {
      cluster.statuses['e2'] = { ...LEADERLESS, raftAppliedIndex: '4' }
    })
    const positions = { appliedSeqno: 4n, receivedSeqno: 9n }
    const problem = 'etcdserver: no leader'
    expect(follower('e2')).toMatchObject({ connected: false, ...positions, problem })
  })

  const [ID_2, ID_3] = ['4d2c877fd5100e9c', 'dde588b692616e11']
  const shared = (name: unknown) => ({ e1: { name }, e2: { name }, e3: { name } })
  it.each<[string, Record<string, Record<string, unknown>>, string[]]>([
    ['is shared', shared('same'), [LEARNER, ID_2, ID_3]],
    ['is empty', shared(''), [LEARNER, ID_2, ID_3]],
    ['is a number', shared(7), [LEARNER, ID_2, ID_3]],
    ['is too long', shared('x'.repeat(2000)), [LEARNER, ID_2, ID_3]],
    ['is the id of another one', { e2: { name: LEARNER } }, [LEARNER, ID_2, 'e3']],
  ])('names a member by its id where its name %s', async (_, changes, expected) => {
    const { names } = await readAfter(({ cluster }) => (cluster.members = listOf(changes)))
    expect(names).toEqual(expected)
  })

  it('has only the members that the filter lets through', async () => {
    const seen: unknown[] = []
    const filter = (follower: { readonly isLearner: boolean }) => {
      seen.push(follower)
      return !follower.isLearner
    }
    expect((await readShard(createFake({ filter }))).names).toEqual(['e2', 'e3'])
    expect(seen).toContainEqual({ replica: LEARNER, memberId: LEARNER, isLearner: true })
  })

  it('lacks a member that was removed, and is complete', async () => {
    const { names, complete, problem } = await readAfter(({ cluster }) => {
      cluster.members = { members: listOf().members.filter(({ name }) => name !== 'e3') }
      delete cluster.statuses['e3']
    })
    expect({ names, complete }).toEqual({ names: [LEARNER, 'e2'], complete: true })
    // Its endpoint can be taken out.
    expect(problem).toBe('http://e3:2379/v3/maintenance/status: fetch failed')
  })
})

describe('a member that cannot be compared', () => {
  it('is diverged if it has applied or received more than the leader has committed', async () => {
    const { follower } = await readAfter(({ change }) => {
      change('e2', { raftAppliedIndex: '10' })
      change('e3', { raftIndex: '10', errors: ['alarm:CORRUPT'] })
    })
    const ahead = expect.stringMatching(/^it is ahead of its leader/) as string
    const both = expect.stringMatching(/^it is ahead of its leader.*; alarm:CORRUPT$/) as string
    const diverged = { connected: true, diverged: true }
    expect(follower('e2')).toEqual({ replica: 'e2', ...diverged, problem: ahead })
    expect(follower('e3')).toEqual({ replica: 'e3', ...diverged, problem: both })
  })

  it('is not diverged while its leader was just elected, and has no position', async () => {
    const { follower } = await readAfter(({ change, changeAll }) => {
      changeAll({ raftTerm: '3' })
      change('e2', { raftIndex: '10', raftAppliedIndex: '10' })
    })
    expect(follower('e2')).toEqual({ replica: 'e2', connected: true })
  })

  it('is diverged if it is of another cluster, and the endpoint is named if it is of no member', async () => {
    const hosts = ['http://x:1', 'http://e1:2379', 'http://e2:2379', 'http://e3:2379']
    const fake = createFake({ endpoints: hosts })
    await fake.read()
    for (const host of ['e3', 'x']) fake.change(host, inCluster7(STATUSES.e3))
    const { follower, problem } = await readShard(fake)
    expect(follower('e2')).toMatchObject(HEALTHY)
    const why = 'cannot be read: http://e3:2379 is the URL of another cluster, 7'
    expect(follower('e3')).toEqual({
      ...{ replica: 'e3', connected: false, diverged: true, problem: why },
    })
    expect(problem).toBe('http://x:1 is the URL of another cluster, 7')
  })

  it('does not take the place of the cluster when no member answers', async () => {
    const fake = createFake({ endpoints: ['http://e1:2379', 'http://e2:2379', 'http://x:1'] })
    fake.change('x', { ...STATUSES.e1, ...inCluster7(STATUSES.e1) })
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
    const { leaderSeqno, follower, names } = await readAfter((fake) => elect(fake, 'e2'))
    expect({ leaderSeqno, names }).toEqual({ leaderSeqno: 12n, names: [LEARNER, 'e1', 'e3'] })
    expect(follower('e1')).toMatchObject({ connected: false, appliedSeqno: 9n })
  })

  it('is not a follower after a failover, and the old one that is down is', async () => {
    const { names, follower } = await readAfter((fake) => {
      delete fake.cluster.statuses['e1']
      elect(fake, 'e3')
    })
    expect(names).toEqual([LEARNER, 'e2', 'e1'])
    expect(follower('e1')).toMatchObject({ connected: false })
    expect(follower('e2')).toMatchObject({ connected: true })
  })

  const leader = undefined
  const unlisted =
    /^the members of etcd cannot be listed: http:\/\/e1:2379\/v3\/cluster\/member\/list: /
  const silent =
    /^none of the etcd.*read: http:\/\/e1:2379\S* fetch failed; http:\/\/e2.*; http:\/\/e3/
  const unread =
    /^the leader of etcd, member e1, a7[0-9a-f]+, cannot be read: http:\/\/e1:2379.*failed/
  it.each<[string, RegExp, (fake: Fake) => unknown]>([
    ['be known to itself', /etcd has no leader/, ({ change }) => change('e1', { leader })],
    ['be known to others', /^etcd has no leader: most/, ({ changeAll }) => changeAll({ leader })],
    ['answer', unread, ({ cluster }) => delete cluster.statuses['e1']],
    ['be found', silent, ({ cluster }) => (cluster.statuses = {})],
    ['have a list of the members', unlisted, ({ cluster }) => (cluster.members = undefined)],
  ])('must %s', async (_, message, change) => {
    const fake = createFake()
    change(fake)
    await expect(fake.read()).rejects.toThrow(message)
  })
})

describe('the list of the members', () => {
  it.each([[undefined], [{ members: [] }], [{ members: 7 }]])(
    'is the last known one while it cannot be read, and the reading is then not complete: %j',
    async (members) => {
      const after = await readAfter(({ cluster }) => (cluster.members = members))
      expect(after).toMatchObject({ complete: false, names: [LEARNER, 'e2', 'e3'] })
      expect(after.problem).toMatch(/^the members cannot be listed: http:\/\/e1:2379/)
    },
  )

  it('can have an entry that is invalid: the others are reported, and the reading is not complete', async () => {
    const changes = { e2: { ID: '-1' }, e3: { clientURLs: 7, isLearner: 'x' } }
    const after = await readAfter(({ cluster }) => (cluster.members = listOf(changes)))
    expect(after).toMatchObject({ complete: false, names: [LEARNER, 'e3'] })
    expect(after.problem).toContain('field ID has an invalid value: "-1"')
  })
})

describe('the epoch', () => {
  const position = (index: number, term: number) => ({
    ...{ raftIndex: `${index}`, raftAppliedIndex: `${index}`, raftTerm: `${term}` },
  })

  it.each<[string, [index: number, term: number][], string]>([
    [
      'the same while the index grows, even in another term',
      [
        [101, 2],
        [101, 3],
        [150, 4],
      ],
      '0',
    ],
    [
      'another one if the index falls, as the ids can be the same',
      [
        [99, 2],
        [99, 2],
      ],
      '1',
    ],
    [
      'another one if the term falls',
      [
        [200, 1],
        [200, 1],
      ],
      '1',
    ],
  ])('is %s', async (_, positions, count) => {
    const fake = createFake()
    fake.changeAll(position(100, 2))
    await fake.read()
    for (const each of positions) {
      fake.changeAll(position(...each))
      expect((await readShard(fake)).epoch).toBe(`${CLUSTER}/${count}`)
    }
  })

  it('is another one if the cluster has another id, even while it cannot be listed', async () => {
    const fake = createFake()
    await fake.read()
    for (const [host, status] of Object.entries(STATUSES)) fake.change(host, inCluster7(status))
    expect((await readShard(fake)).epoch).toBe('7/0')
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

describe('a field of a status', () => {
  const fields = ['leader', 'raftIndex', 'raftTerm', 'raftAppliedIndex']

  it.each(fields)('that is invalid names the member, and hides no other: %s', async (field) => {
    for (const value of ['', '-1', '1.5', `${MAX + 1n}`, 1.5, -1, true, [], {}]) {
      const { follower, complete } = await readAfter(({ change }) =>
        change('e3', { [field]: value }),
      )
      expect(complete).toBe(true)
      expect(follower('e2')).toMatchObject(HEALTHY)
      const problem = containing(`field ${field} has an invalid value`)
      expect(follower('e3')).toMatchObject({ connected: false, problem })
    }
    const { read, change } = createFake()
    change('e1', { [field]: '-1' })
    const error = await read().catch(String)
    expect(error).toContain('member e1, a73f3452e18af27c, cannot be read')
    expect(error).toContain(`field ${field} has an invalid value: "-1"`)
  })

  it.each(['cluster_id', 'member_id'])('must be in the header: %s', async (field) => {
    const header = { ...STATUSES.e3.header, [field]: undefined }
    const { follower } = await readAfter(({ change }) => change('e3', { header }))
    expect(follower('e2')).toMatchObject(HEALTHY)
    expect(follower('e3')?.problem).toContain(`field ${field} is missing`)
  })

  it.each<[unknown, string | undefined]>([
    ['no array', undefined],
    [{}, undefined],
    [[{}, 7, ' alarm:NOSPACE '], 'an object; 7; alarm:NOSPACE'],
    [['x'.repeat(1000)], 'x'.repeat(300)],
  ])('can hold any errors: %#', async (errors, problem) => {
    const { follower } = await readAfter(({ change }) => change('e3', { errors }))
    expect(follower('e3')).toMatchObject(HEALTHY)
    expect(follower('e3')?.problem).toBe(problem)
  })

  it('is exact up to 2^64 − 1, and 0 if it is missing', async () => {
    const { header, version, leader } = STATUSES.e3
    const { leaderSeqno, follower } = await readAfter(({ cluster, change }) => {
      change('e1', { raftIndex: `${MAX}` })
      change('e2', { raftAppliedIndex: `${MAX - 1n}`, raftIndex: `${MAX}` })
      cluster.statuses['e3'] = { header, version, leader }
    })
    expect(leaderSeqno).toBe(MAX)
    expect(follower('e2')).toMatchObject({ appliedSeqno: MAX - 1n })
    expect(follower('e3')).toMatchObject({ appliedSeqno: 0n })
  })
})

it('any answers make a valid reading or one clear error', async () => {
  const status = fc.constantFrom(...Object.values(STATUSES), LEADERLESS).chain(mutated)
  const answers = fc.record({ e1: status, e2: status, e3: status })
  const read = fc.tuple(answers, mutated(listOf()))
  await fc.assert(
    fc.asyncProperty(fc.array(read, { maxLength: 4 }), async (reads) => {
      const fake = createFake()
      for (const [statuses, members] of reads) {
        Object.assign(fake.cluster, { statuses, members })
        validate(
          await fake.read().catch((error: unknown) => error),
          /etcd (has no leader|has just been elected)|(of etcd|endpoints).*cannot|can be read:/,
        )
      }
    }),
    { numRuns: 200 },
  )
})

describeOptions(etcdSource, { endpoints: ['http://e1:2379'], shard: 'a' }, 'etcd:a', [
  [{ endpoints: undefined }, 'endpoints: expected an array of distinct http'],
  [{ endpoints: [] }, 'endpoints: expected an array of distinct http'],
  [{ shard: undefined }, 'shard: expected a non-empty'],
  [{ fetch: 1 }, 'fetch: expected a function, got 1'],
])
