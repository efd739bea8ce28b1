import {
  kafkaSource,
  type KafkaSourceOptions,
} from 'opentelemetry-instrumentation-replication-lag/sources/kafka'
import { describe, expect, it, onTestFinished } from 'vitest'
import { recordDiag } from '../../support/diag.js'
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

describe.each([
  ['kafkajs', createKafkajs, '0'],
  ['@platformatic/kafka', createPlatformatic, `${TOPIC_ID}/0`],
])('a reading through %s', (_, create, epoch) => {
  it('has what a group has committed, and no position of a partition without a commit', async () => {
    expect(await readOnce({ admin: create().admin, groups })).toEqual({
      shards: [
        {
          shard: 'orders/0',
          leaderSeqno: 10n,
          epoch,
          followers: [{ replica: 'billing', appliedSeqno: 4n }],
        },
        { shard: 'orders/1', leaderSeqno: 0n, epoch, followers: [{ replica: 'billing' }] },
      ],
    })
  })

  it('asks for the ends of the logs last', async () => {
    const { admin, calls } = create()
    await readOnce({ admin, groups, topics: ['orders'] })
    expect(calls.at(-1)).toMatch(/^fetchTopicOffsets|ends at isolation 0$/)
  })

  it('says which groups have no commits, and does not report them', async () => {
    const { shards, note } = await readOnce({ admin: create().admin, groups: ['billing', 'idle'] })
    expect(shards.flatMap(({ followers }) => followers.map(({ replica }) => replica))).toEqual([
      'billing',
      'billing',
    ])
    expect(note).toMatch(/^group idle: nothing is known/)
  })

  it('has all groups for topics that are named, and says which topics do not exist', async () => {
    const { admin } = create()
    const topics = ['orders', 'nowhere', 'orders']
    const { shards, note } = await readOnce({ admin, groups: ['billing', 'idle'], topics })
    expect(shards.map(({ followers }) => followers.length)).toEqual([2, 2])
    expect(note).toMatch(/^group idle, topic nowhere: nothing is known/)
  })

  it('has only the followers that pass the filter', async () => {
    const filter: KafkaSourceOptions['filter'] = (follower) => {
      expect(follower).toEqual({
        replica: 'billing',
        topic: 'orders',
        partition: follower.partition,
      })
      return follower.partition === 1
    }
    const { shards } = await readOnce({ admin: create().admin, groups, filter })
    expect(shards.map(({ shard }) => shard)).toEqual(['orders/1'])
  })

  it('fails if the filter does not return a boolean', async () => {
    const reading = readOnce({ admin: create().admin, groups, filter: () => 1 as never })
    await expect(reading).rejects.toThrow(
      'filter: expected a function that returns a boolean, got 1',
    )
  })

  it('rejects with the reason of the signal when that is aborted', async () => {
    const hanging = () => new Promise(() => undefined)
    const { admin } = create({ listTopics: hanging })
    const source = kafkaSource({ admin, groups, topics: ['orders'] })
    const controller = new AbortController()
    const reading = source.read(controller.signal)
    controller.abort(new Error('too late'))
    await expect(reading).rejects.toThrow('too late')
    await expect(source.read(signal)).rejects.toThrow(
      'Kafka: the last question is not answered yet: check whether the brokers run',
    )
  })

  it.each([
    ['Not authorized to access group: Group authorization failed', 'Describe on the groups'],
    ['Topic authorization failed.', 'Describe on the topics'],
    ['SASL authentication failed.', 'check the user and its password'],
    ['Failed to find group coordinator', 'Describe on the groups, and check whether'],
    ['connect ECONNREFUSED 127.0.0.1:9092', 'check whether the brokers run'],
    ['Something else', 'Something else'],
  ])('says what to do about an error: %s', async (message, advice) => {
    const { admin } = create({
      listTopics() {
        throw new Error(message)
      },
    })
    const reading = readOnce({ admin, groups, topics: ['orders'] })
    await expect(reading).rejects.toThrow(`Kafka: ${message}`)
    await expect(reading).rejects.toThrow(advice)
  })
})

describe('a commit', () => {
  const commit = async (offset: string) => {
    const fetchOffsets = [{ topic: 'orders', partitions: [{ partition: 0, offset }] }]
    const { shards } = await readOnce({ admin: createKafkajs({ fetchOffsets }).admin, groups })
    return shards[0]?.followers[0]
  }

  it('does not exist if its offset is -1', async () => {
    expect(await commit('-1')).toEqual({ replica: 'billing' })
  })

  it('before the start of the log counts as the start', async () => {
    expect(await commit('1')).toEqual({ replica: 'billing', appliedSeqno: 2n })
  })

  it('before a start that has passed the end meanwhile counts as the end', async () => {
    const fetchTopicOffsets = [{ partition: 0, high: '10', low: '12' }]
    const { shards } = await readOnce({ admin: createKafkajs({ fetchTopicOffsets }).admin, groups })
    expect(shards[0]?.followers).toEqual([{ replica: 'billing', appliedSeqno: 10n }])
  })

  it('past the last stable offset is no position', async () => {
    expect(await commit('10')).toEqual({ replica: 'billing', appliedSeqno: 10n })
    expect(await commit('11')).toEqual({ replica: 'billing' })
  })

  it('past the end of the log is no position, and a problem', async () => {
    const [billing] = PLATFORMATIC.listConsumerGroupOffsets
    const partitions = [{ partitionIndex: 0, committedOffset: 11n }]
    const listConsumerGroupOffsets = [{ ...billing, topics: [{ name: 'orders', partitions }] }]
    const { admin } = createPlatformatic({ listConsumerGroupOffsets })
    const { shards } = await readOnce({ admin, groups })
    expect(shards[0]?.followers).toEqual([
      { replica: 'billing', problem: expect.stringContaining('lost records') as string },
    ])
    const committed = await readOnce({ admin, groups, isolation: 'read_committed' })
    expect(committed.shards[0]?.followers).toEqual([{ replica: 'billing' }])
  })
})

describe('what is not there any more', () => {
  it('is removed: a group without commits, and a topic that was deleted', async () => {
    let { fetchOffsets } = KAFKAJS
    const { admin } = createKafkajs({ fetchOffsets: () => fetchOffsets })
    const source = kafkaSource({ admin, groups: ['billing', 'shipping'] })
    await source.read(signal)
    fetchOffsets = []
    const removed = ['billing', 'shipping']
    expect((await source.read(signal)).shards).toMatchObject([
      { shard: 'orders/0', leaderSeqno: 10n, followers: [], removed },
      { shard: 'orders/1', leaderSeqno: 0n, followers: [], removed },
    ])
    expect((await source.read(signal)).shards).toEqual([])
  })

  it('is another epoch when the log has become shorter', async () => {
    let high = '10'
    const fetchTopicOffsets = () => [{ partition: 0, offset: high, high, low: '0' }]
    const source = kafkaSource({ admin: createKafkajs({ fetchTopicOffsets }).admin, groups })
    const epoch = async () => (await source.read(signal)).shards[0]?.epoch
    expect(await epoch()).toBe('0')
    high = '5'
    expect(await epoch()).toBe('1')
    high = '7'
    expect(await epoch()).toBe('1')
  })
})

describe('kafkajs', () => {
  it('looks up leaders again when one has moved, once', async () => {
    let failures = 1
    const moved = Object.assign(new Error('not the leader'), { type: 'NOT_LEADER_FOR_PARTITION' })
    const { admin, calls } = createKafkajs({
      fetchTopicOffsets() {
        if (failures-- > 0) throw moved
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

  it('is told from a new one when it keeps a topic that was deleted', async () => {
    const { admin } = createKafkajs({
      fetchTopicOffsets() {
        throw new Error('This server does not host this topic-partition')
      },
    })
    await expect(readOnce({ admin, groups })).rejects.toThrow('kafkajs needs a new admin client')
  })
})

describe('@platformatic/kafka', () => {
  it('is asked for the last stable offset with read_committed', async () => {
    const { admin, calls } = createPlatformatic()
    await readOnce({ admin, groups, isolation: 'read_committed' })
    expect(calls.slice(-2)).toEqual(['starts', 'ends at isolation 1'])
  })

  it('is not asked about topics without metadata, nor for no partition', async () => {
    const { admin, calls } = createPlatformatic({
      metadata: { topics: new Map(), brokers: new Map() },
    })
    expect(await readOnce({ admin, groups })).toEqual({ shards: [] })
    expect(calls).not.toContain('starts')
  })

  it('must answer about each partition', async () => {
    const { admin } = createPlatformatic({ ends: [{ name: 'orders', partitions: [] }] })
    await expect(readOnce({ admin, groups })).rejects.toThrow('Kafka: field offset is missing')
  })

  it('is not asked about a partition that nobody leads, and the error says so', async () => {
    const metadata = { ...(PLATFORMATIC.metadata as object), brokers: new Map() }
    const { admin, calls } = createPlatformatic({ metadata })
    await expect(readOnce({ admin, groups })).rejects.toThrow(
      'Kafka: orders/0 has no leader: check',
    )
    expect(calls).not.toContain('starts')
  })
})

describe('brokers', () => {
  const readBrokers = (changes = {}) => {
    const { admin, calls, listOffsets: brokers } = createPlatformatic(changes)
    return { calls, reading: readOnce({ admin, groups: [], topics: ['orders'], brokers }) }
  }
  const log = (offset: bigint, partitions = [{ partitionIndex: 0, offset }]) => ({
    topics: [{ name: 'orders', partitions: [...partitions, { partitionIndex: 1, offset: 0n }] }],
  })

  it('have shards of their own, with the ends of their own logs, the leader read last', async () => {
    const { calls, reading } = readBrokers()
    const epoch = `${TOPIC_ID}/0`
    expect((await reading).shards).toEqual([
      {
        shard: 'orders/0/brokers',
        leaderSeqno: 12n,
        epoch,
        followers: [{ replica: 'broker/2', appliedSeqno: 9n }],
      },
      {
        shard: 'orders/1/brokers',
        leaderSeqno: 0n,
        epoch,
        followers: [{ replica: 'broker/2', appliedSeqno: 0n }],
      },
    ])
    expect(calls.slice(-4)).toEqual(['connect 2', 'broker 2 as -2', 'connect 1', 'broker 1 as -2'])
    expect(calls).not.toContain('listConsumerGroupOffsets')
  })

  it('leave the shards of groups as they are', async () => {
    const { admin, listOffsets: brokers } = createPlatformatic()
    const { shards } = await readOnce({ admin, groups, brokers })
    expect(shards.map(({ shard, leaderSeqno }) => [shard, leaderSeqno])).toEqual([
      ['orders/0', 10n],
      ['orders/1', 0n],
      ['orders/0/brokers', 12n],
      ['orders/1/brokers', 0n],
    ])
  })

  it.each([
    ['hangs up', () => Promise.reject(new Error('closed')), 'cannot be read: closed'],
    ['has no copy', { topics: [] }, 'cannot be read: it has no copy'],
  ])('that follow are disconnected, without a position: one that %s', async (_, two, problem) => {
    const { shards } = await readBrokers({ brokers: { 1: log(12n), 2: two } }).reading
    const follower = { replica: 'broker/2', connected: false, problem }
    expect(shards.map(({ followers }) => followers)).toEqual([[follower], [follower]])
  })

  it('that are not in the cluster are disconnected', async () => {
    const partition = { leader: 1, replicas: [1, 7] }
    const topics = new Map([['orders', { id: TOPIC_ID, partitions: [partition] }]])
    const { shards } = await readBrokers({ metadata: { topics, brokers: new Map([[1, {}]]) } })
      .reading
    expect(shards[0]?.followers).toEqual([
      {
        replica: 'broker/7',
        connected: false,
        problem: 'cannot be read: it is not in the cluster',
      },
    ])
  })

  it('that are ahead of their leader have no position', async () => {
    const { shards } = await readBrokers({ brokers: { 1: log(12n), 2: log(13n) } }).reading
    expect(shards[0]?.followers).toEqual([
      { replica: 'broker/2', problem: expect.stringContaining('is longer than') as string },
    ])
  })

  it('that lead and do not answer fail the read', async () => {
    const broken = () => Promise.reject(new Error('closed'))
    await expect(readBrokers({ brokers: { 1: broken, 2: log(9n) } }).reading).rejects.toThrow(
      'Kafka: broker 1 leads orders/0: closed',
    )
  })
})

describe('an option', () => {
  const { admin } = createKafkajs()
  const { admin: platformatic, listOffsets } = createPlatformatic()
  const create = (options: unknown) => kafkaSource(options as KafkaSourceOptions)

  it.each<[unknown, RegExp]>([
    [undefined, /^options: expected an object/],
    [{ groups }, /^admin: expected an admin client of kafkajs or an Admin of @platformatic\/kafka/],
    [{ admin: {}, groups }, /^admin: /],
    [{ admin }, /^groups: expected an array of group ids/],
    [{ admin, groups: 'billing' }, /^groups: expected an array of group ids, got "billing"/],
    [{ admin, groups: [''] }, /^groups: expected an array of group ids/],
    [{ admin, groups: [7] }, /^groups: expected an array of group ids/],
    [{ admin, groups: [] }, /^groups: expected at least one group, or brokers and topics/],
    [{ admin: platformatic, groups: [], brokers: listOffsets }, /^groups: expected at least one/],
    [{ admin, groups, topics: 'orders' }, /^topics: expected an array of topics/],
    [{ admin, groups, brokers: listOffsets }, /^brokers: expected listOffsetsV9 of @platformatic/],
    [{ admin: platformatic, groups, brokers: true }, /^brokers: expected listOffsetsV9/],
    [{ admin: platformatic, groups, brokers: null }, /^brokers: expected listOffsetsV9/],
    [{ admin, groups, isolation: 'strict' }, /^isolation: expected read_uncommitted or read_comm/],
    [{ admin, groups, isolation: 'read_uncommitted' }, /^isolation: expected read_committed, as/],
    [{ admin, groups, name: '' }, /^name: expected a non-empty/],
    [{ admin, groups, name: 7 }, /^name: expected a non-empty/],
    [{ admin, groups, filter: 'billing' }, /^filter: expected a function/],
  ])('that is invalid is refused with a TypeError that names it: %#', (options, message) => {
    expect(() => create(options)).toThrow(TypeError)
    expect(() => create(options)).toThrow(message)
  })

  it('that does not exist is logged and ignored', () => {
    const log = recordDiag()
    onTestFinished(() => log.stop())
    create({ admin, groups, topic: 'orders' })
    expect(log.matching('warn', 'kafkaSource: there is no option "topic"')).toHaveLength(1)
  })

  it('name is by default kafka and the groups', () => {
    expect(create({ admin, groups: ['a', 'b'] }).name).toBe('kafka:a,b')
    const topics = ['orders']
    const ofBrokers = { admin: platformatic, groups: [], topics, brokers: listOffsets }
    expect(create(ofBrokers).name).toBe('kafka')
    expect(create({ admin, groups: ['x'.repeat(1024)] }).name).toBe('kafka')
    expect(create({ admin, groups, name: 'events', isolation: 'read_committed' }).name).toBe(
      'events',
    )
  })
})

it('reports what the answers say of all groups, each partition once', async () => {
  const { admin } = createPlatformatic({
    listConsumerGroupOffsets: [
      ...PLATFORMATIC.listConsumerGroupOffsets,
      {
        groupId: 'shipping',
        topics: [{ name: 'orders', partitions: [{ partitionIndex: 1, committedOffset: 0n }] }],
      },
    ],
  })
  const { shards } = await readOnce({ admin, groups: ['billing', 'shipping', 'billing'] })
  expect(shards.map(({ followers }) => followers)).toEqual([
    [{ replica: 'billing', appliedSeqno: 4n }, { replica: 'shipping' }],
    [{ replica: 'billing' }, { replica: 'shipping', appliedSeqno: 0n }],
  ])
})
