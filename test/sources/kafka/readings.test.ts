import { Admin } from '@platformatic/kafka'
import fc from 'fast-check'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import {
  kafkaSource,
  type KafkaSourceOptions,
  type ListOffsets,
} from 'opentelemetry-instrumentation-replication-lag/sources/kafka'
import { describe, expect, it, onTestFinished } from 'vitest'
import { eventually } from '../../support/eventually.js'
import { describeOptions } from '../shared/describe-options.js'
import { mutated, validate } from '../shared/fakes.js'
import {
  createKafkajs,
  createPlatformatic,
  KAFKAJS,
  PLATFORMATIC,
  readOnce,
  TOPIC_ID,
} from './answers.js'

const groups = ['billing']
const { signal } = new AbortController()
const hang = () => new Promise(() => undefined)
const refuse = () => Promise.reject(new Error('Group authorization failed.'))
const containing = (text: string) => expect.stringContaining(text) as string

/** The ends of the logs of several topics. */
const endsOf = (rows: { name: string }[]) =>
  rows.map(({ name }) => ({ ...PLATFORMATIC.ends[0], name }))

/** The ends of both partitions, or what a broker answers that refuses. */
const log = (offset: bigint, errorCode = 0) => {
  const rows = [offset, errorCode === 0 ? 0n : offset]
  const partitions = rows.map((each, i) => ({ partitionIndex: i, offset: each, errorCode }))
  return [{ name: 'orders', partitions }]
}

/** A group without members that has committed nothing. */
const idle = (start: bigint) => ({ replica: 'idle', connected: false, appliedSeqno: start })

describe.each([
  ['kafkajs', createKafkajs, '0'],
  ['@platformatic/kafka', createPlatformatic, `${TOPIC_ID}/0`],
])('a reading through %s', (_, create, epoch) => {
  it('has what a group has committed, and the start of the log where it has committed nothing', async () => {
    const row = (partition: number, leaderSeqno: bigint, appliedSeqno: bigint) => {
      const followers = [{ replica: 'billing', appliedSeqno }]
      return { shard: `orders/${partition}`, leaderSeqno, epoch, followers }
    }
    const reading = { complete: true, shards: [row(0, 10n, 4n), row(1, 0n, 0n)] }
    expect(await readOnce({ admin: create().admin, groups })).toEqual(reading)
  })

  it('asks for the ends of the logs last', async () => {
    const { admin, calls } = create()
    await readOnce({ admin, groups, topics: ['orders'] })
    expect(calls.at(-1)).toMatch(/^fetchTopicOffsets|ends at isolation 0$/)
  })

  it('has all groups that are listed, and says why share groups are not reported', async () => {
    const { shards, note } = await readOnce({ admin: create().admin, topics: ['orders'] })
    expect(shards).toMatchObject([
      { shard: 'orders/0', followers: [{ replica: 'billing' }] },
      { shard: 'orders/1', followers: [{ replica: 'billing' }] },
    ])
    expect(note).toBe('group sharing: it is a share group, which has no commits')
  })

  it('keeps a group that the user may no longer describe, although a broker no longer lists it', async () => {
    let isDenied = false
    const answer = <T>(allowed: T) => (isDenied ? refuse() : allowed)
    const isKafkajs = create === createKafkajs
    const none = isKafkajs ? { groups: [] } : new Map()
    const { listGroups } = isKafkajs ? KAFKAJS : PLATFORMATIC
    const { admin } = create({
      listGroups: () => (isDenied ? none : listGroups),
      fetchOffsets: () => answer(KAFKAJS.fetchOffsets),
      listConsumerGroupOffsets: (names: string[]) =>
        names.includes('billing') ? answer(PLATFORMATIC.listConsumerGroupOffsets) : [],
    })
    const source = kafkaSource({ admin })
    expect((await source.read(signal)).shards).toHaveLength(2)
    isDenied = true
    await expect(source.read(signal)).rejects.toThrow(/^Kafka: billing cannot be read: Group auth/)
  })

  it('fails if no group is known, because the list of groups cannot be read', async () => {
    const listGroups = () => Promise.reject(new Error('Cluster authorization failed.'))
    const reading = readOnce({ admin: create({ listGroups }).admin })
    await expect(reading).rejects.toThrow('Describe on the cluster, or name the groups')
  })

  it.each([
    ['hangs', hang],
    ['is refused', refuse],
  ])('names a group that %s, keeps what it consumed, and has the others', async (_, fail) => {
    const commits = PLATFORMATIC.listConsumerGroupOffsets
    let isBad = false
    const { admin } = create({
      fetchOffsets: (group: string) => (isBad && group === 'bad' ? fail() : KAFKAJS.fetchOffsets),
      findCoordinator: (keys: string[]) =>
        keys.map((key) => ({ key, nodeId: key === 'bad' ? 2 : 1 })),
      listConsumerGroupOffsets: (names: string[]) =>
        !names.includes('bad') ? commits : isBad ? fail() : [{ ...commits[0], groupId: 'bad' }],
    })
    const source = kafkaSource({ admin, groups: ['billing', 'bad'] })
    await source.read(signal)
    isBad = true
    for (let i = 0; i < 2; i++) {
      const { shards, complete } = await source.read(signal, 500)
      const bad = { replica: 'bad', connected: false }
      expect(shards).toMatchObject([
        { shard: 'orders/0', leaderSeqno: 10n, followers: [{ appliedSeqno: 4n }, bad] },
        { shard: 'orders/1', leaderSeqno: 0n, followers: [{ appliedSeqno: 0n }, bad] },
        {
          shard: 'consumer groups',
          problem: expect.stringMatching(/^bad cannot be read: /) as string,
        },
      ])
      expect(shards[0]?.followers[1]).not.toHaveProperty('appliedSeqno')
      expect(complete).toBe(true)
    }
  })

  it('tells a topic that has the name groups from the groups', async () => {
    const read = (name: string, bad: string, answer: unknown) => (name === bad ? refuse() : answer)
    const { listConsumerGroupOffsets, metadata } = PLATFORMATIC
    const { admin } = create({
      fetchOffsets: (group: string) => read(group, 'bad', KAFKAJS.fetchOffsets),
      findCoordinator: (keys: string[]) =>
        keys.map((key) => ({ key, nodeId: key === 'bad' ? 2 : 1 })),
      listConsumerGroupOffsets: ([name = '']: string[]) =>
        read(name, 'bad', listConsumerGroupOffsets),
      fetchTopicOffsets: (topic: string) => read(topic, 'groups', KAFKAJS.fetchTopicOffsets),
      metadata: (names: string[]) => (names.includes('groups') ? refuse() : metadata),
    })
    const options = { groups: ['billing', 'bad'], topics: ['orders', 'groups'] }
    const { shards } = await readOnce({ admin, ...options })
    expect(shards.slice(2).map(({ shard }) => shard)).toEqual(['groups', 'consumer groups'])
  })

  it('keeps the partitions of a topic that can no longer be read, and names it', async () => {
    let isRefused = false
    const read = <T>(names: readonly string[], answer: T) =>
      isRefused && names.includes('other') ? refuse() : answer
    const { metadata } = PLATFORMATIC
    const { topics } = metadata as { topics: Map<string, unknown> }
    const { admin } = create({
      fetchTopicOffsets: (topic: string) => read([topic], KAFKAJS.fetchTopicOffsets),
      metadata: (names: string[]) => {
        const found = new Map(names.map((name) => [name, topics.get('orders')]))
        return read(names, { ...(metadata as object), topics: found })
      },
      ...{ starts: endsOf, ends: endsOf },
    })
    const source = kafkaSource({ admin, groups: ['idle'], topics: ['orders', 'other'] })
    await source.read(signal)
    isRefused = true
    const { shards, complete } = await source.read(signal)
    const followers = [{ replica: 'idle', connected: false }]
    const problem = containing('cannot be read: Group authorization failed.')
    expect(shards.slice(2)).toEqual(
      [0, 1].map((partition) => ({ shard: `other/${partition}`, followers, problem })),
    )
    expect(complete).toBe(true)
  })

  it('keeps a topic that the user may no longer describe, although Kafka hides its commits', async () => {
    const deny = () => Promise.reject(new Error('Topic authorization failed.'))
    let isDenied = false
    const [billing] = PLATFORMATIC.listConsumerGroupOffsets
    const { admin } = create({
      fetchOffsets: () => (isDenied ? [] : KAFKAJS.fetchOffsets),
      describeGroups: undefined,
      listConsumerGroupOffsets: () => [isDenied ? { ...billing, topics: [] } : billing],
      fetchTopicMetadata: () => (isDenied ? deny() : undefined),
      fetchTopicOffsets: () => (isDenied ? deny() : KAFKAJS.fetchTopicOffsets),
      metadata: ({ length }: string[]) => (isDenied && length ? deny() : PLATFORMATIC.metadata),
    })
    const source = kafkaSource({ admin, groups })
    await source.read(signal)
    isDenied = true
    for (let i = 0; i < 2; i++)
      await expect(source.read(signal)).rejects.toThrow(/^Kafka: orders .*Describe on the topics/)
    isDenied = false
    expect((await source.read(signal)).shards[0]).toMatchObject({ leaderSeqno: 10n })
  })

  it('says whose members are not known, and has the commits', async () => {
    const { admin } = create({ describeGroups: refuse, listGroups: refuse })
    const { shards } = await readOnce({ admin, groups })
    expect(shards[0]?.followers).toEqual([{ replica: 'billing', appliedSeqno: 4n }])
    expect(shards.at(-1)?.problem).toMatch(/^members of billing cannot be read: Group auth/)
  })

  it('says which groups have no commits, and does not report them', async () => {
    const { shards, note } = await readOnce({ admin: create().admin, groups: ['billing', 'idle'] })
    expect(shards.flatMap(({ followers }) => followers.map(({ replica }) => replica))).toEqual([
      'billing',
      'billing',
    ])
    expect(note).toMatch(/^group idle: no data/)
  })

  it('has each named group for each named topic, from the start of the log', async () => {
    const { admin } = create()
    const twice = ['billing', 'idle', 'billing']
    const { shards } = await readOnce({ admin, groups: twice, topics: ['orders'] })
    expect(shards).toMatchObject([
      { leaderSeqno: 10n, followers: [{ replica: 'billing' }, idle(2n)] },
      { leaderSeqno: 0n, followers: [{ replica: 'billing' }, idle(0n)] },
    ])
  })

  it('has only the followers that pass the filter', async () => {
    const filter: KafkaSourceOptions['filter'] = (follower) => {
      const { partition } = follower
      expect(follower).toEqual({ replica: 'billing', topic: 'orders', partition })
      return partition === 1
    }
    const { shards } = await readOnce({ admin: create().admin, groups, filter })
    expect(shards.map(({ shard }) => shard)).toEqual(['orders/1'])
  })

  it('rejects with the reason of the signal when that is aborted, and is not asked again meanwhile', async () => {
    const { admin, calls } = create({ metadata: hang, fetchOffsets: hang })
    const source = kafkaSource({ admin, groups, topics: ['orders'] })
    const controller = new AbortController()
    const reading = source.read(controller.signal)
    await eventually(() => expect(calls.join()).toMatch(/metadata|fetchOffsets/))
    controller.abort(new Error('too late'))
    await expect(reading).rejects.toThrow('too late')
    const { length } = calls
    await expect(source.read(signal, 100)).rejects.toThrow(
      /^Kafka: (billing cannot be read: )?no answer in time: check whether the brokers run/,
    )
    expect(calls.slice(length).filter((name) => !/^connect$|^describe/.test(name))).toEqual([])
  })

  it.each([
    ['Not authorized to access group: Group authorization failed', 'Describe on the groups'],
    ['Topic authorization failed.', 'Describe on the topics'],
    ['Cluster authorization failed.', 'Describe on the cluster, or name the groups'],
    ['SASL authentication failed.', 'check the user and its password'],
    ['SASL authentication failed. (Request timed out)', 'check whether the brokers run and can'],
    ['Failed to find group coordinator', 'Describe on the groups, and check whether'],
    ['Connection closed', 'check whether the brokers run'],
    ['Something else', 'Something else'],
  ])('says what to do about an error: %s', async (message, advice) => {
    const fail = () => {
      throw new Error(message)
    }
    const { admin } = create({ metadata: fail, fetchOffsets: fail })
    const error = await readOnce({ admin, groups, topics: ['orders'] }).catch(String)
    expect(error).toMatch(/^Error: Kafka: /)
    for (const part of [message, advice]) expect(error).toContain(part)
  })
})

describe('a commit', () => {
  const lost = containing('records were deleted before it consumed them')
  const invalid = containing('its commit is not an offset')
  it.each([
    ['-1 does not exist: the group will begin at the start of the log', '-1', { appliedSeqno: 2n }],
    ['-5 is not an offset', '-5', { diverged: true, problem: invalid }],
    ['-1001 is not an offset', '-1001', { diverged: true, problem: invalid }],
    ['1.5 is not an offset', '1.5', { diverged: true, problem: invalid }],
    ['before the start of the log has lost records', '1', { appliedSeqno: 2n, problem: lost }],
    ['at the last stable offset is a position', '10', { appliedSeqno: 10n }],
    ['past the last stable offset is no position', '11', {}],
  ])('%s', async (_, offset, expected) => {
    const fetchOffsets = [{ topic: 'orders', partitions: [{ partition: 0, offset }] }]
    const { shards } = await readOnce({ admin: createKafkajs({ fetchOffsets }).admin, groups })
    expect(shards[0]?.followers).toEqual([{ replica: 'billing', ...expected }])
  })

  it('before a start that has passed the end meanwhile counts as the end', async () => {
    const fetchTopicOffsets = [{ partition: 0, high: '10', low: '12' }]
    const { shards } = await readOnce({ admin: createKafkajs({ fetchTopicOffsets }).admin, groups })
    expect(shards[0]?.followers).toMatchObject([{ replica: 'billing', appliedSeqno: 10n }])
  })

  it('past the end of the log has diverged, whatever the reason', async () => {
    const [billing] = PLATFORMATIC.listConsumerGroupOffsets
    const partitions = [{ partitionIndex: 0, committedOffset: 11n }]
    const listConsumerGroupOffsets = [{ ...billing, topics: [{ name: 'orders', partitions }] }]
    const { admin } = createPlatformatic({ listConsumerGroupOffsets })
    const problem = expect.stringMatching(/^its commit is past the end of the log/) as string
    for (const options of [{}, { isolation: 'read_committed' }] as const) {
      const { shards } = await readOnce({ admin, groups, ...options })
      expect(shards[0]?.followers).toEqual([{ replica: 'billing', diverged: true, problem }])
    }
  })

  it('between the last stable offset and the end of the log is no position', async () => {
    const ends = () => log(calls.includes('ends at isolation 1') ? 3n : 10n)
    const { admin, calls } = createPlatformatic({ ends })
    const { shards } = await readOnce({ admin, groups, isolation: 'read_committed' })
    expect(shards[0]?.leaderSeqno).toBe(3n)
    expect(shards[0]?.followers).toEqual([{ replica: 'billing' }])
  })
})

describe('what no longer exists', () => {
  it('is not in a complete reading: a group without commits', async () => {
    let { fetchOffsets } = KAFKAJS
    const { admin } = createKafkajs({ fetchOffsets: () => fetchOffsets, describeGroups: undefined })
    const source = kafkaSource({ admin, groups: ['billing', 'shipping'] })
    expect((await source.read(signal)).shards).toHaveLength(2)
    fetchOffsets = []
    expect(await source.read(signal)).toMatchObject({ shards: [], complete: true })
  })

  it('is another epoch when the log has become shorter', async () => {
    let high = '10'
    const fetchTopicOffsets = () => [{ partition: 0, offset: high, high, low: '0' }]
    const source = kafkaSource({ admin: createKafkajs({ fetchTopicOffsets }).admin, groups })
    for (const [end, epoch] of Object.entries({ 10: '0', 5: '1' }).reverse()) {
      high = end
      for (let i = 0; i < 2; i++)
        expect((await source.read(signal)).shards).toMatchObject([{ epoch }])
    }
  })
})

describe('kafkajs', () => {
  it('says that it cannot describe groups of the new protocol', async () => {
    const describeGroups = (ids: string[]) => ({
      groups: ids.map((groupId) => ({ groupId, state: 'Dead', members: [] })),
    })
    const { admin } = createKafkajs({ describeGroups })
    const { shards } = await readOnce({ admin, groups: ['billing', 'idle'] })
    expect(shards.at(-1)?.problem).toMatch(/^members of billing cannot be read: .*KIP-848/)
  })

  it('reads all other topics while it repeats the question about those without a leader', async () => {
    const names = Array.from({ length: 24 }, (_, i) => `${i % 3 === 0 ? 'bad' : 'fine'}-${i}`)
    const { admin } = createKafkajs({
      fetchTopicMetadata: (wanted: string[]) =>
        wanted.some((topic) => topic.startsWith('bad')) ? hang() : undefined,
    })
    const source = kafkaSource({ admin, groups, topics: names })
    const { shards } = await source.read(signal, 500)
    const read = shards.filter(({ leaderSeqno }) => leaderSeqno !== undefined)
    expect(read.map(({ shard }) => shard)).toEqual(
      names.filter((name) => name.startsWith('fine')).flatMap((name) => [`${name}/0`, `${name}/1`]),
    )
  })

  it('takes no topics from members whose metadata has another form', async () => {
    const describeGroups = (ids: string[]) => {
      const memberMetadata = Buffer.from('00017fffffff00066f7264657273fffe6162', 'hex')
      const members = [{ memberMetadata }, { memberMetadata: 7 }]
      return { groups: ids.map((groupId) => ({ groupId, protocolType: 'consumer', members })) }
    }
    const { admin } = createKafkajs({ fetchOffsets: [], describeGroups })
    const { shards } = await readOnce({ admin, groups })
    expect(shards.map(({ shard }) => shard)).toEqual(['orders/0', 'orders/1'])
  })

  it('keeps what a group has subscribed to while its members cannot be read', async () => {
    let { describeGroups } = KAFKAJS
    const { admin } = createKafkajs({
      fetchOffsets: [],
      describeGroups: (ids: string[]) => describeGroups(ids),
    })
    const source = kafkaSource({ admin, groups })
    const { shards } = await source.read(signal)
    describeGroups = () => {
      throw new Error('refused')
    }
    expect((await source.read(signal)).shards.slice(0, 2)).toEqual(shards)
  })

  it('takes no incident and no lag from an event loop that was blocked', async () => {
    let isBlocked = false
    const now = () => `${Math.floor(performance.now())}`
    const { admin } = createKafkajs({
      fetchOffsets() {
        const end = performance.now() + (isBlocked ? 0 : 700)
        isBlocked = true
        const partitions = [{ partition: 0, offset: now() }]
        while (performance.now() < end);
        return [{ topic: 'orders', partitions }]
      },
      async fetchTopicOffsets() {
        const answer = [{ partition: 0, low: '0', high: now() }]
        await new Promise((resolve) => setTimeout(resolve, 5))
        return answer
      },
    })
    const [shard] = (await kafkaSource({ admin, groups }).read(signal, 600)).shards
    const { appliedSeqno = 0n } = shard?.followers[0] ?? {}
    expect(Number(shard?.leaderSeqno) - Number(appliedSeqno)).toBeLessThan(500)
  })

  it('looks up leaders again when one has moved, once', async () => {
    let failures = 1
    const moved = Object.assign(new Error('not the leader'), { type: 'NOT_LEADER_FOR_PARTITION' })
    const { admin, calls } = createKafkajs({
      fetchTopicOffsets(topic: string) {
        if (topic === 'orders' && failures-- > 0) throw moved
        return KAFKAJS.fetchTopicOffsets
      },
    })
    expect((await readOnce({ admin, groups })).shards).toHaveLength(2)
    expect(calls).toContain('listGroups')
    failures = 2
    await expect(readOnce({ admin, groups })).rejects.toThrow('not the leader')
  })

  it('looks up partitions again when one has commits and is not known', async () => {
    const [first, second] = KAFKAJS.fetchTopicOffsets
    const { admin, calls } = createKafkajs({
      fetchOffsets: [{ topic: 'orders', partitions: [{ partition: 1, offset: '0' }] }],
      fetchTopicOffsets: () => (calls.includes('listGroups') ? [first, second] : [first]),
    })
    expect((await readOnce({ admin, groups })).shards).toHaveLength(2)
  })

  it('that a function creates is closed after each read, and created again when it is outdated', async () => {
    const type = 'UNKNOWN_TOPIC_OR_PARTITION'
    const deleted = Object.assign(new Error('This server does not host it. Unknown topic'), {
      type,
    })
    const clients: ReturnType<typeof createKafkajs>[] = []
    const fetchTopicOffsets = () => {
      if (clients.length === 1 && isDeleted) throw deleted
      return KAFKAJS.fetchTopicOffsets
    }
    let isDeleted = false
    const create = () => {
      const client = createKafkajs({ fetchTopicOffsets })
      clients.push(client)
      return client.admin
    }
    const source = kafkaSource({ admin: create, groups })
    for (let i = 0; i < 2; i++) expect((await source.read(signal)).shards).toHaveLength(2)
    expect(clients).toHaveLength(1)
    expect(clients[0]?.calls.filter((name) => name === 'disconnect')).toHaveLength(2)
    isDeleted = true
    await expect(source.read(signal)).rejects.toThrow('pass a function that creates one')
    expect((await source.read(signal)).shards).toHaveLength(2)
    expect(clients).toHaveLength(2)
  })
})

describe('@platformatic/kafka', () => {
  const names = Array.from({ length: 20 }, (_, i) => `name-${i}`)

  it('reads all other topics while the question about the metadata of one hangs', async () => {
    const { topics } = PLATFORMATIC.metadata as { topics: Map<string, unknown> }
    const rowsOf = (wanted: string[]) => new Map(wanted.map((name) => [name, topics.get('orders')]))
    const { admin } = createPlatformatic({
      metadata: (wanted: string[]) =>
        wanted.includes('name-7')
          ? hang()
          : { brokers: new Map([[1, {}]]), topics: rowsOf(wanted) },
      ...{ starts: endsOf, ends: endsOf },
    })
    const source = kafkaSource({ admin, groups, topics: names })
    await eventually(async () => {
      const { shards } = await source.read(signal, 500)
      const unread = shards.filter(({ leaderSeqno }) => leaderSeqno === undefined)
      expect(shards).toHaveLength(2 * names.length - 1)
      expect(unread).toEqual([{ shard: 'name-7', followers: [], problem: containing('no answer') }])
    })
  })

  it('reads all other groups while the question about the commits of one hangs', async () => {
    const [billing] = PLATFORMATIC.listConsumerGroupOffsets
    const { admin } = createPlatformatic({
      listConsumerGroupOffsets: (wanted: string[]) =>
        wanted.includes('name-7') ? hang() : wanted.map((groupId) => ({ ...billing, groupId })),
    })
    const source = kafkaSource({ admin, groups: names })
    await eventually(async () => {
      const { shards } = await source.read(signal, 500)
      expect(shards.at(-1)?.problem).toMatch(/^name-7 cannot be read: no answer in time/)
      expect(shards[0]?.followers).toHaveLength(names.length - 1)
    })
  })

  it('shows a named group that does not exist as disconnected', async () => {
    const { admin } = createPlatformatic()
    const { shards } = await readOnce({ admin, groups: ['nowhere'], topics: ['orders'] })
    const follower = { replica: 'nowhere', connected: false, appliedSeqno: 2n }
    expect(shards[0]?.followers).toEqual([follower])
  })
})

describe('brokers', () => {
  const readBrokers = (changes = {}) => {
    const { admin, calls, listOffsets: brokers } = createPlatformatic(changes)
    return { calls, reading: readOnce({ admin, groups: [], topics: ['orders'], brokers }) }
  }
  /** Broker 2, compared with where its leader was then. */
  const broker2 = (appliedSeqno: bigint, leaderSeqno: bigint) => {
    const comparedWith = { leaderSeqno, at: expect.any(Number) as number }
    return { replica: 'broker/2', appliedSeqno, comparedWith }
  }
  /** As the client reports an answer with errors. */
  const refusal = Object.assign(new Error('ListOffsets failed'), {
    response: { topics: log(-1n, 6) },
    errors: [0, 1].map((i) =>
      Object.assign(new Error('not the leader'), { path: `/topics/0/partitions/${i}` }),
    ),
  })

  it('have shards of their own, with the ends of their own logs, the leader read last', async () => {
    const { calls, reading } = readBrokers()
    const epoch = `${TOPIC_ID}/0`
    expect((await reading).shards).toEqual([
      { shard: 'orders/0/brokers', leaderSeqno: 12n, epoch, followers: [broker2(9n, 12n)] },
      { shard: 'orders/1/brokers', leaderSeqno: 0n, epoch, followers: [broker2(0n, 0n)] },
    ])
    expect(calls).toContain('broker 2 as -2')
    expect(calls.slice(-2)).toEqual(['connect 1', 'broker 1 as -2'])
    expect(calls).not.toContain('listConsumerGroupOffsets')
  })

  it.each([
    ['hangs up', () => Promise.reject(new Error('closed')), 'cannot be read: closed'],
    ['has no copy', { topics: [] }, 'cannot be read: it has no copy'],
    ['refuses', () => Promise.reject(refusal), 'cannot be read: not the leader'],
  ])('that follow are disconnected, without a position: one that %s', async (_, two, problem) => {
    const { shards } = await readBrokers({ brokers: { 1: { topics: log(12n) }, 2: two } }).reading
    const follower = { replica: 'broker/2', connected: false, problem }
    expect(shards.map(({ followers }) => followers)).toEqual([[follower], [follower]])
  })

  it('that are not in the cluster are disconnected', async () => {
    const partition = { leader: 1, replicas: [1, 7] }
    const topics = new Map([['orders', { id: TOPIC_ID, partitions: [partition] }]])
    const metadata = { topics, brokers: new Map([[1, {}]]) }
    const { shards } = await readBrokers({ metadata }).reading
    const problem = 'cannot be read: it is not in the cluster'
    expect(shards[0]?.followers).toEqual([{ replica: 'broker/7', connected: false, problem }])
  })

  it('that are ahead of their leader have diverged', async () => {
    const { shards } = await readBrokers({
      brokers: { 1: { topics: log(12n) }, 2: { topics: log(13n) } },
    }).reading
    const problem = containing('is longer than')
    expect(shards[0]?.followers).toEqual([{ replica: 'broker/2', diverged: true, problem }])
  })

  it('that lead and do not answer hide only what they lead', async () => {
    const broken = () => Promise.reject(new Error('closed'))
    const { shards } = await readBrokers({ brokers: { 1: broken, 2: { topics: log(9n) } } }).reading
    const followers = [{ replica: 'broker/2', connected: false }]
    const why = 'broker 1 leads it (closed): check whether the brokers run and can be reached'
    const row = { followers, problem: `cannot be read: ${why}` }
    expect(shards).toEqual([0, 1].map((i) => ({ shard: `orders/${i}/brokers`, ...row })))
  })
})

it('of thousands of groups, topics and partitions takes little CPU, in short turns of the event loop', async () => {
  const names = Array.from({ length: 2000 }, (_, i) => `name-${i}`)
  const partitions = Array.from({ length: 10 }, (_, i) => ({ leader: i % 2, replicas: [0, 1] }))
  const answer: (rows: Parameters<ListOffsets['api']['async']>[3]) => unknown[] = (rows) =>
    rows.map(({ name, partitions: all }) => ({
      name,
      partitions: all.map(({ partitionIndex }) => ({ partitionIndex, offset: 5n })),
    }))
  const committed = [{ partitionIndex: 0, committedOffset: 1n }]
  const { admin } = createPlatformatic({
    metadata: (wanted: string[]) => ({
      brokers: new Map([0, 1].map((id) => [id, {}])),
      topics: new Map(wanted.map((topic) => [topic, { id: topic, partitions }])),
    }),
    listConsumerGroupOffsets: (wanted: string[]) =>
      wanted.map((name) => ({ groupId: name, topics: [{ name, partitions: committed }] })),
    ...{ starts: answer, ends: answer },
  })
  const brokers: ListOffsets = {
    api: { async: (_, __, ___, rows) => Promise.resolve({ topics: answer(rows) }) },
  }
  const source = kafkaSource({ admin, groups: names, brokers })
  const first = await source.read(signal, 30_000)
  expect(first.shards).toHaveLength(2 * names.length * partitions.length)

  const cpuMillis = () => {
    const { user, system } = process.cpuUsage()
    return (user + system) / 1000
  }
  const start = cpuMillis()
  let [last, longest, isOver] = [start, 0, false]
  const check = () => {
    longest = Math.max(longest, cpuMillis() - last)
    last = cpuMillis()
    if (!isOver) setImmediate(check)
  }
  setImmediate(check)
  await source.read(signal, 30_000)
  isOver = true
  // More than it takes (300 ms, in turns of 50 ms), because other tests run at the same time.
  expect(cpuMillis() - start).toBeLessThan(1200)
  expect(longest).toBeLessThan(200)
})

describe('an option', () => {
  const { admin } = createKafkajs()
  const { admin: platformatic, listOffsets } = createPlatformatic()
  const create = (options: unknown) => kafkaSource(options as KafkaSourceOptions)
  const none = 'groups: expected at least one group, or brokers and topics'

  describeOptions(kafkaSource, { admin, groups }, 'kafka:billing', [
    [{ admin: undefined }, 'admin: expected an Admin of @platformatic/kafka, an admin client of'],
    [{ admin: {} }, 'admin: expected an Admin'],
    [{ groups: null }, 'groups: expected an array of group ids'],
    [{ groups: 'billing' }, 'groups: expected an array of group ids, got "billing"'],
    [{ groups: [''] }, 'groups: expected an array of group ids'],
    [{ groups: [7] }, 'groups: expected an array of group ids'],
    [{ groups: [] }, none],
    [{ admin: platformatic, groups: [], brokers: listOffsets }, none],
    [{ topics: 'orders' }, 'topics: expected an array of topics'],
    [{ brokers: listOffsets }, 'brokers: expected listOffsetsV9 of @platformatic/kafka'],
    [{ admin: platformatic, brokers: true }, 'brokers: expected listOffsetsV9'],
    [{ admin: platformatic, brokers: null }, 'brokers: expected listOffsetsV9'],
    [{ isolation: 'strict' }, 'isolation: expected read_uncommitted or read_committed'],
    [{ isolation: 'read_uncommitted' }, 'isolation: expected read_committed, the only'],
  ])

  it('`name` is by default kafka and the groups, if these can be a name', () => {
    expect(create({ admin, groups: ['a', 'b'], isolation: 'read_committed' }).name).toBe(
      'kafka:a,b',
    )
    expect(create({ admin }).name).toBe('kafka')
    const ofBrokers = { admin: platformatic, groups: [], topics: ['orders'], brokers: listOffsets }
    expect(create(ofBrokers).name).toBe('kafka')
    expect(create({ admin, groups: ['x'.repeat(1024)] }).name).toBe('kafka')
  })
})

describe('a field of an answer', () => {
  const max = 2n ** 64n - 1n
  /** Reads through kafkajs, with one row of an answer changed. */
  const readChanged = (commit: object, log: object) => {
    const partitions = [{ partition: 0, offset: '4', ...commit }]
    const fetchTopicOffsets = [{ partition: 0, low: '2', high: '10', ...log }]
    const fetchOffsets = [{ topic: 'orders', partitions }]
    return readOnce({ admin: createKafkajs({ fetchOffsets, fetchTopicOffsets }).admin, groups })
  }

  it.each(['', '-2', '+1', ' 1', '1.0', '1e3', 'NaN', `${max + 1n}`, -1, 1.5, NaN, -1n, {}, null])(
    'is an unsigned 64-bit integer: not %s',
    async (value) => {
      const invalid = (name: string) => `cannot be read: field ${name} has an invalid value`
      const reading = readChanged({}, { partition: value })
      await expect(reading).rejects.toThrow(`Kafka: orders ${invalid('partition')}`)
      for (const name of ['low', 'high']) {
        const { shards } = await readChanged({}, { [name]: value })
        const followers = [{ replica: 'billing', connected: false }]
        expect(shards).toEqual([
          { shard: 'orders/0', followers, problem: containing(invalid(name)) },
        ])
      }
      // -1 stands for no commit.
      if (Number(value) === -1) return
      const { shards } = await readChanged({ offset: value }, {})
      const problem = containing('its commit is not an offset')
      expect(shards[0]?.followers).toEqual([{ replica: 'billing', diverged: true, problem }])
    },
  )

  it('is exact over 2^53', async () => {
    const { shards } = await readChanged({ offset: `${max - 1n}` }, { high: `${max}` })
    expect(shards[0]).toMatchObject({ leaderSeqno: max, followers: [{ appliedSeqno: max - 1n }] })
  })

  const odd = [undefined, null, '', '-1', -1, -1n, NaN, max, max + 1n, [], {}, new Map()]
  const values = fc.oneof(fc.constantFrom<unknown>(...odd), fc.bigInt(), fc.anything())
  /** Answers without those that are functions of the question, with changes. */
  const changed = <T extends object>(answers: T) => {
    const isAnswer = ([, answer]: [string, unknown]) => typeof answer !== 'function'
    return mutated(Object.fromEntries(Object.entries(answers).filter(isAnswer)) as T, values)
  }
  const throughKafkajs = changed(KAFKAJS).map((answers): KafkaSourceOptions => {
    const { admin } = createKafkajs(answers)
    return { admin, groups: ['billing', 'idle'], topics: ['orders'] }
  })
  const throughPlatformatic = changed(PLATFORMATIC).map((answers): KafkaSourceOptions => {
    const { admin, listOffsets: brokers } = createPlatformatic(answers)
    return { admin, groups, brokers }
  })

  it.each([
    ['kafkajs', throughKafkajs],
    ['@platformatic/kafka and brokers', throughPlatformatic],
  ])('is read exactly or refused, with %s', async (_, options) => {
    const message =
      /^Kafka: (.* cannot be read: )?(field|it does not exist|its coordinator|the brokers have not)/s
    const check = async (each: KafkaSourceOptions) => {
      const result = await readOnce(each).catch((error: unknown) => error as Error)
      validate(result, message)
      if (result instanceof Error) return
      for (const { leaderSeqno, problem } of result.shards)
        if (leaderSeqno === undefined) expect(problem).toMatch(/cannot be read/)
    }
    await fc.assert(fc.asyncProperty(options, check), { numRuns: 1000 })
  })
})

it('connections that are reset while they authenticate do not end the process, with @platformatic/kafka', async () => {
  let resets = 0
  // As a proxy whose broker was killed.
  const server = createServer((socket) => {
    socket.on('error', () => undefined)
    socket.on('data', () => {
      resets++
      socket.resetAndDestroy()
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  const uncaught: unknown[] = []
  const keep = (error: unknown) => uncaught.push(error)
  process.on('uncaughtException', keep)
  onTestFinished(() => void process.off('uncaughtException', keep))

  const { port } = server.address() as AddressInfo
  const admin = new Admin({
    clientId: 'monitor',
    bootstrapBrokers: [`127.0.0.1:${port}`],
    retries: 0,
    sasl: { mechanism: 'PLAIN', username: 'monitor', password: 'monitor' },
  })
  onTestFinished(() => admin.close())
  // A connection that exists before the source does is listened to as well.
  const early = admin.metadata({ topics: [] })
  for (let i = 0; i < 12; i++) kafkaSource({ admin, name: `source ${i}` })
  const source = kafkaSource({ admin })
  await expect(early).rejects.toThrow('Cannot connect to any broker')
  await eventually(async () => {
    await expect(source.read(AbortSignal.timeout(5000))).rejects.toThrow(/Kafka: .*: check the/)
    expect(resets).toBeGreaterThan(2)
  })
  // What is thrown would be after the answer.
  await new Promise((resolve) => setImmediate(resolve))
  expect(uncaught).toEqual([])
})
