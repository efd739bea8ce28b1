import fc from 'fast-check'
import {
  jetstreamSource,
  type JetStreamSourceOptions,
} from 'opentelemetry-instrumentation-replication-lag/sources/jetstream'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { describeOptions } from '../shared/describe-options.js'
import { fakeFetch, FakeResponse, mutated, validate } from '../shared/fakes.js'
import { answersOf, createFake, SERVERS, type Server } from './fakes.js'

type Fake = ReturnType<typeof createFake>

const FOLLOWERS = ['nats_1', 'nats_3']
const CONSUMERS = { consumers: true }
const NOT_GIVEN = 'cannot be read: no server of this name is among the monitoring URLs'
const OLD_DATE = '2026-11-25T20:00:00Z'

/** What a follower has that answered, when the leader was at 31. */
const applied = (appliedSeqno: bigint, leaderSeqno = 31n) => ({
  appliedSeqno,
  comparedWith: { leaderSeqno, at: expect.any(Number) as number },
})
const unreadable = (replica: string, problem: string) => ({ replica, connected: false, problem })
const containing = (text: string) => expect.stringContaining(text) as string

/** Reads after the answers have changed. */
function readAfter(
  change: (fake: Fake) => unknown,
  options: Partial<JetStreamSourceOptions> = CONSUMERS,
) {
  const fake = createFake(options)
  change(fake)
  return fake.readShard()
}

/** Changes of what servers report about ORDERS, or about the stream that is named, at any depth. */
type Changes = Readonly<Record<string, object>>

const readWith = (changes: Changes, options?: Partial<JetStreamSourceOptions>) =>
  readAfter(({ stream }) => {
    for (const [key, fields] of Object.entries(changes)) {
      const [server, name] = key.split(' ') as [Server, string?]
      merge(stream(server, name), fields)
    }
  }, options)

function merge(target: object, changes: object): void {
  for (const [key, value] of Object.entries(changes) as [string, unknown][]) {
    const part = Reflect.get(target, key) as unknown
    if (isObject(part) && isObject(value)) merge(part, value)
    else Reflect.set(target, key, value)
  }
}

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null

/** Changes of the first replica, or of a consumer: 0 is `billing`, and 1 is `temp`. */
const firstReplica = (fields: object) => ({ nats_2: { cluster: { replicas: { 0: fields } } } })
const consumerAt = (index: number, fields: object) => ({
  ...{ nats_2: { consumer_detail: { [index]: fields } } },
})
const copy = (fields: object) => ({ 'nats_2 COPY': fields })

afterEach(() => vi.restoreAllMocks())

describe('a reading', () => {
  it('has a shard for each stream, with the servers that do not lead it and its mirrors', async () => {
    const { read, stream } = createFake()
    stream('nats_1').state.last_seq = 20
    const { shards, note, complete, unread } = await read()
    expect({ note, complete, unread }).toEqual({ complete: true })
    expect(shards).toEqual([
      {
        shard: 'ORDERS',
        leaderSeqno: 31n,
        epoch: stream('nats_2').created,
        followers: [
          { replica: 'nats_1', connected: true, ...applied(20n) },
          { replica: 'nats_3', connected: true, ...applied(31n) },
          { replica: 'mirror/COPY', connected: true, ...applied(31n) },
        ],
        removed: ['nats_2'],
      },
      expect.objectContaining({ shard: 'PART', leaderSeqno: 0n, followers: [] }),
      expect.objectContaining({ shard: 'COPY', leaderSeqno: 31n, followers: [] }),
    ])
  })

  it('takes one request to each server, and the leader is asked after its followers', async () => {
    const { read, asked, restart } = createFake()
    await read()
    expect(asked).toContain('nats_1 /varz')
    // The second reading finds nothing new.
    for (let i = 0; i < 2; i++) {
      asked.length = 0
      await read()
    }
    expect(asked.slice(0, -1).sort()).toEqual(['nats_1 /jsz', 'nats_3 /jsz'])
    expect(asked.at(-1)).toBe('nats_2 /jsz')
    // Another id can be another server.
    restart('nats_1')
    await read()
    expect(asked).toContain('nats_1 /varz')
  })

  it('compares each follower with where the leader was when it answered', async () => {
    const fake = createFake()
    await fake.readShard()
    fake.asked.length = 0
    fake.onAsk = () => (fake.stream('nats_2').state.last_seq = 40 + fake.asked.length)
    const { leaderSeqno, follower } = await fake.readShard()
    expect(leaderSeqno).toBe(43n)
    for (const name of FOLLOWERS) expect(follower(name)).toMatchObject(applied(31n, 43n))
  })

  it('asks for the configuration only of what is new', async () => {
    const { read, readShard, asked, stream, consumer } = createFake(CONSUMERS)
    await read()
    await read()
    asked.length = 0
    await read()
    expect(asked).toHaveLength(3)
    const late = { ...consumer('nats_1', 'billing'), name: 'late', cluster: { leader: 'nats_1' } }
    stream('nats_1').consumer_detail?.push(late)
    asked.length = 0
    expect((await readShard()).names).toContain('consumer/late')
    expect(asked.filter((each) => each === 'nats_1 /jsz')).toHaveLength(2)
  })

  it('fails if no server answers, and says why for each', async () => {
    const { read, answers } = createFake()
    for (const server of SERVERS) answers[server] = undefined
    await expect(read()).rejects.toThrow(
      /^no server of JetStream can be read: http:\/\/nats_1:8222\/jsz: fetch failed; http:\/\/nats_2/,
    )
  })

  it('fails for a URL that different servers answer at, even if the answers are of two servers', async () => {
    const first = createFake({ servers: ['http://nats_1'] })
    first.change('nats_1', { varz: { server_id: 'OTHER' } })
    await expect(first.read()).rejects.toThrow(
      /http:\/\/nats_1: different servers answer in turn\. Give the monitoring URL of each server/,
    )
    const second = createFake({ servers: ['http://nats_2'] })
    for (let i = 0; i < 3; i++) await second.read()
    second.stream('nats_2', 'COPY').created = '2026-11-26T00:00:00Z'
    second.asked.length = 0
    second.onAsk = () => {
      if (second.asked.length === 2) second.change('nats_2', { jsz: { server_id: 'OTHER' } })
    }
    await expect(second.read()).rejects.toThrow('http://nats_2: different servers answer in turn')
  })

  it('names a server that has the name of another one, and is not complete', async () => {
    const { unread, complete, names } = await readAfter(({ change }) => {
      change('nats_3', { varz: { server_name: 'nats_1' } })
    }, {})
    expect(names).toEqual([...FOLLOWERS, 'mirror/COPY'])
    expect(unread).toMatch(/^http:\/\/nats_3:8222: nats_1 is also the name of another server/)
    expect(complete).toBe(false)
  })

  it('uses an answer that came after its read, and is not complete with it', async () => {
    const { read, delays } = createFake()
    await read()
    delays.set('nats_3', 600)
    const { shards, unread } = await read(200)
    const advice = 'check host, port, network, firewall and server'
    expect(unread).toBe(`http://nats_3:8222: no answer in time: ${advice}`)
    expect(shards[0]?.followers[1]).toEqual(unreadable('nats_3', `cannot be read: ${unread}`))
    await sleep(600)
    const late = await read(200)
    expect(late.shards[0]?.followers[1]).toMatchObject({ connected: true, ...applied(31n) })
    expect(late.complete).toBe(false)
  })
})

describe('the leader of a stream', () => {
  it('is missing in the reading while there is none, and a problem says so', async () => {
    const { read, lead } = createFake()
    lead(undefined)
    const { shards, complete } = await read()
    expect(shards.map(({ leaderSeqno }) => leaderSeqno)).toEqual([undefined, 0n, 31n])
    expect(shards[0]).toEqual({
      shard: 'ORDERS',
      followers: ['nats_1', 'nats_2', 'nats_3', 'mirror/COPY'].map((replica) => ({
        replica,
        connected: false,
      })),
      problem: 'it has no leader: most of the servers that hold it must be up and connected',
    })
    expect(complete).toBe(false)
  })

  it('must exist and answer for at least one of the streams', async () => {
    const reading = readAfter(({ answers }) => delete answers['nats_2'], { streams: ['ORDERS'] })
    await expect(reading).rejects.toThrow(
      'no stream can be read: ORDERS: its leader nats_2 cannot be read: http://nats_2:8222/jsz: fetch failed',
    )
  })

  it('is not a follower of its own, although it was one, even while the old leader is down', async () => {
    const { readShard, answers, lead, stream } = createFake()
    await readShard()
    lead('nats_1')
    delete answers['nats_2']
    const replicas = ['nats_2', 'nats_3'].map((name) => ({ name, active: 1 }))
    Object.assign(stream('nats_1').cluster ?? {}, { replicas })
    const { names, removed, follower, complete } = await readShard()
    expect(names).toEqual(['nats_2', 'nats_3'])
    expect(follower('nats_2')).toEqual(
      unreadable('nats_2', 'cannot be read: http://nats_2:8222/jsz: fetch failed'),
    )
    expect({ removed, complete }).toEqual({ removed: ['nats_1'], complete: false })
  })

  it('must answer once more for its followers to have a position', async () => {
    const { leaderSeqno, followers, complete } = await readAfter((fake) => {
      for (const server of SERVERS) fake.consumer(server, 'billing').cluster = { leader: 'nats_1' }
      fake.onAsk = () => fake.asked.length === 7 && delete fake.answers['nats_2']
    })
    expect({ leaderSeqno, complete }).toEqual({ leaderSeqno: 31n, complete: false })
    expect(followers).toEqual([
      { replica: 'nats_1', connected: true },
      { replica: 'nats_3', connected: true },
      { replica: 'consumer/billing' },
      expect.objectContaining({ replica: 'consumer/temp', ...applied(0n) }),
      { replica: 'mirror/COPY', connected: true, ...applied(31n) },
    ])
  })

  it.each([
    ['messages', { last_seq: 30 }, {}],
    ['date', { last_seq: 99 }, { created: '2026-11-25T23:37:51.1Z' }],
  ])('is the one with the newest %s, if two claim to lead', async (_, state, fields) => {
    const { readShard, stream } = createFake()
    Object.assign(stream('nats_1'), { cluster: { leader: 'nats_1' }, ...fields })
    Object.assign(stream('nats_1').state, state)
    const problem = 'nats_1 and nats_2 say that they lead it'
    expect(await readShard()).toMatchObject({ leaderSeqno: 31n, removed: ['nats_2'], problem })
    Object.assign(stream('nats_3').cluster ?? {}, { leader: 'nats_3' })
    stream('nats_3').state.last_seq = 32
    expect(await readShard()).toMatchObject({ leaderSeqno: 32n })
    // Of two with the same messages, the one that more servers follow.
    const claim = { nats_1: { cluster: { leader: 'nats_1' } } }
    expect(await readWith(claim)).toMatchObject({ removed: ['nats_2'] })
  })

  it('begins a new history when its position falls', async () => {
    const { readShard, stream } = createFake()
    const { epoch } = await readShard()
    expect((await readShard()).epoch).toBe(epoch)
    for (const server of SERVERS) stream(server).state.last_seq = 2
    for (let i = 0; i < 2; i++)
      expect(await readShard()).toMatchObject({ leaderSeqno: 2n, epoch: `${epoch}/1` })
  })

  it('leads all that it has if it is not in a cluster', async () => {
    const { read, stream } = createFake({ servers: ['http://nats_2'] })
    for (const name of ['ORDERS', 'COPY']) delete stream('nats_2', name).cluster
    Object.assign(stream('nats_2'), { config: undefined })
    const { shards } = await read()
    expect(shards).toMatchObject([
      { shard: 'ORDERS', followers: [{ replica: 'mirror/COPY', appliedSeqno: 31n }] },
      { shard: 'COPY', followers: [] },
    ])
  })
})

describe('a follower', () => {
  it.each([
    ['does not answer', {}, 'cannot be read: http://nats_3:8222/jsz: fetch failed'],
    ['is not among the URLs', { servers: ['http://nats_1:8222', 'http://nats_2'] }, NOT_GIVEN],
  ])('is disconnected and has no position if it %s', async (_, options, problem) => {
    const { read, readShard, answers, change } = createFake(options)
    await read()
    delete answers['nats_3']
    change('nats_1', { jsz: { account_details: 7 } })
    const { follower } = await readShard()
    expect(follower('nats_3')).toEqual(unreadable('nats_3', problem))
    expect(follower('nats_1')?.problem).toContain('nats_1:8222/jsz: field account_details')
  })

  const fine = { connected: true, ...applied(31n) }
  const lost = { connected: false, ...applied(31n) }
  const failed = (problem: string) => ({ ...lost, problem })
  const diverged = (problem: string) => ({ diverged: true, problem })
  const ahead = diverged('it has messages that the leader does not have: they have diverged')
  const old = diverged('its upstream was recreated, and it still has messages of the old one')
  const without = (field: string) => ({
    ...{ connected: false, problem: containing(`cannot be read: field ${field}`) },
  })
  const [mirror, temp] = ['mirror/COPY', 'consumer/temp'] as const
  const mirrored = { mirror: { name: 'UP', active: 0 }, config: { mirror: { name: 'UP' } } }
  const isOld = copy({ state: { last_ts: OLD_DATE } })
  const isEmpty = { last_seq: 0, last_ts: '0001-01-01T00:00:00Z' }
  it.each<[string, string, Changes, object]>([
    ['nats_1', 'its leader says that it is offline', firstReplica({ offline: true }), lost],
    ['nats_1', 'its leader has not heard of it for 16 s', firstReplica({ active: 16e9 }), lost],
    ['nats_1', 'its leader has never heard of it', firstReplica({ active: -1 }), lost],
    ['nats_1', 'its leader does not say when', firstReplica({ active: undefined }), fine],
    ['nats_1', 'it has an older copy', { nats_1: { created: OLD_DATE } }, { connected: true }],
    ['nats_3', 'it has no copy yet', { nats_3: { name: 'OTHER' } }, { connected: true }],
    ['nats_3', 'it has more', { nats_3: { state: { last_seq: 32 } } }, ahead],
    ['nats_3', 'it is invalid', { nats_3: { state: { last_seq: 1.5 } } }, without('last_seq')],
    [mirror, 'it hears nothing', copy({ mirror: { active: 16e9 } }), lost],
    [mirror, 'it never heard anything', copy({ mirror: { active: -1 } }), lost],
    [mirror, 'it fails', copy({ mirror: { error: { description: 'no' } } }), failed('no')],
    [mirror, 'it fails silently', copy({ mirror: { error: {} } }), failed('it has an error')],
    [
      mirror,
      'it is invalid',
      copy({ mirror: { active: 'x' } }),
      failed(containing('field active')),
    ],
    [mirror, 'it has more', copy({ state: { last_seq: 32 } }), old],
    [mirror, 'its messages are older than its upstream', isOld, old],
    [mirror, 'its upstream is a mirror too', { ...isOld, nats_2: mirrored }, fine],
    [mirror, 'it is empty', copy({ state: isEmpty }), { connected: true, ...applied(0n) }],
    [temp, 'it is invalid', consumerAt(1, { num_pending: null }), without('num_pending')],
    [temp, 'it is invalid', consumerAt(1, { num_ack_pending: -1 }), without('num_ack')],
    [temp, 'it is invalid', consumerAt(1, { ack_floor: { stream_seq: 'x' } }), without('ack')],
    [temp, 'it is invalid', consumerAt(1, { cluster: { leader: 7 } }), without('leader')],
  ])('%s: %s', async (replica, _, changes, expected) => {
    const { follower, leaderSeqno, problem } = await readWith(changes)
    expect(follower(replica)).toEqual({ replica, ...expected })
    expect(leaderSeqno).toBe(31n)
    if (replica.startsWith('consumer/')) expect(problem).toBeUndefined()
  })

  const mirrorOf = (mirror: unknown) => copy({ config: { mirror } })
  it.each<[string, Changes, string]>([
    ['replica nats_1: field active', firstReplica({ active: 'long' }), 'nats_1'],
    ['replica without a name: field name', firstReplica({ name: 7 }), 'nats_1'],
    ['consumer without a name: field name', consumerAt(1, { name: '' }), 'consumer/temp'],
    ['field consumer_detail has an', { nats_2: { consumer_detail: 7 } }, 'consumer/temp'],
    ['', firstReplica({ name: 'Server name unknown at this time (peerID: S4A)' }), 'nats_1'],
    ['', mirrorOf({ name: 'ORDERS', filter_subject: 'orders.a' }), 'mirror/COPY'],
    ['', mirrorOf({ name: 'ORDERS', subject_transforms: [{ src: 'orders.a' }] }), 'mirror/COPY'],
    ['', mirrorOf({ name: 'ORDERS', external: { api: '$JS.hub.API' } }), 'mirror/COPY'],
    ['', mirrorOf({ name: 'ELSEWHERE' }), 'mirror/COPY'],
    ['', mirrorOf(undefined), 'mirror/COPY'],
  ])('is left out alone, and is named if it is invalid: %s %j', async (fault, changes, replica) => {
    const { names, problem, leaderSeqno, complete } = await readWith(changes)
    const all = ['nats_1', 'nats_3', 'consumer/billing', 'consumer/temp', 'mirror/COPY']
    expect(names).toEqual(all.filter((each) => each !== replica))
    expect(problem).toEqual(fault ? containing(`nats_2: ${fault}`) : undefined)
    expect(leaderSeqno).toBe(31n)
    expect(complete).toBe(replica === 'mirror/COPY')
  })
})

describe('a reading is complete', () => {
  it('without a server that was removed from the cluster, although its URL is still there', async () => {
    const { read, answers, meta, stream } = createFake()
    await read()
    delete answers['nats_3']
    Object.assign(meta('nats_2'), { replicas: [{ name: 'nats_1' }], cluster_size: 2 })
    stream('nats_2').cluster?.replicas?.pop()
    const { shards, complete, unread } = await read()
    expect(complete).toBe(true)
    expect(shards[0]?.followers.map(({ replica }) => replica)).toEqual(['nats_1', 'mirror/COPY'])
    expect(unread).toBe('http://nats_3:8222/jsz: fetch failed')
  })

  const replicas = (...names: string[]) => ({ replicas: names.map((name) => ({ name })) })
  it.each([
    ['is not among the URLs', replicas('nats_1', 'nats_3', 'nats_4')],
    ['has no known name', replicas('nats_1', 'Server name unknown at this time')],
    ['is missing in the list', replicas('nats_1')],
    ['leads it cannot be found', { leader: '' }],
  ])('only if no server of the cluster %s', async (_, state) => {
    const { complete } = await readAfter(({ meta }) => Object.assign(meta('nats_2'), state))
    expect(complete).toBe(false)
  })

  it('only when a server that has just started says that it has listed its streams, or after a minute', async () => {
    const fake = createFake()
    await fake.read()
    fake.health = { status: 'unavailable' }
    for (const isHealthy of [true, false]) {
      fake.restart('nats_1')
      for (let i = 0; i < 2; i++) expect(await fake.read()).toMatchObject({ complete: false })
      const later = performance.now() + 61_000
      if (isHealthy) fake.health = { status: 'ok' }
      else vi.spyOn(performance, 'now').mockImplementation(() => later)
      expect(await fake.read()).toMatchObject({ complete: true })
      fake.asked.length = 0
      expect(await fake.read()).toMatchObject({ complete: true })
      expect(fake.asked).not.toContain('nats_1 /healthz')
      fake.health = { status: 'unavailable' }
    }
  })

  it('and one that has just started does not lead a stream that it has not joined yet', async () => {
    const fake = createFake()
    await fake.readShard()
    fake.health = { status: 'unavailable' }
    fake.restart('nats_1')
    const copy = fake.stream('nats_1')
    Object.assign(copy, { cluster: { leader: 'nats_1' }, created: '2026-11-25T23:40:00.1Z' })
    copy.state.last_seq = 0
    const shard = await fake.readShard()
    expect(shard).toMatchObject({ leaderSeqno: 31n, names: [...FOLLOWERS, 'mirror/COPY'] })
    expect(shard).not.toHaveProperty('problem')
  })

  it.each([
    ['2026-11-25T23:39:00.1Z', true],
    ['2026-11-25T23:39:30.1Z', false],
  ])('if a server that was never read before started a minute ago: %s', async (start, complete) => {
    const varz = { start, now: '2026-11-25T23:40:20Z' }
    expect(await readAfter(({ change }) => change('nats_1', { varz }))).toMatchObject({ complete })
  })

  it('even without any stream, when the last one was deleted', async () => {
    const { read, change, meta } = createFake()
    await read()
    for (const server of SERVERS) change(server, { jsz: { account_details: undefined } })
    const note = 'JetStream has none of the configured streams'
    expect(await read()).toEqual({ shards: [], complete: true, note })
    Object.assign(meta('nats_2'), { leader: 'nats_3' })
    expect(await read()).toMatchObject({ shards: [], complete: false })
  })
})

describe('a consumer', () => {
  /** Here the only replica of one of the consumers is on another server than the leader of the stream. */
  const withConsumers = (options: Partial<JetStreamSourceOptions> = {}) => {
    const fake = createFake({ ...CONSUMERS, ...options })
    const temp = fake.consumer('nats_2', 'temp')
    fake.stream('nats_2').consumer_detail?.pop()
    fake.stream('nats_1').consumer_detail?.push({ ...temp, cluster: { leader: 'nats_1' } })
    return fake
  }

  it('is reported on request, by the view of its own leader', async () => {
    expect((await createFake().readShard()).names).not.toContain('consumer/billing')
    const { readShard, consumer } = withConsumers()
    Object.assign(consumer('nats_2', 'billing'), { num_pending: 20, num_ack_pending: 4 })
    Object.assign(consumer('nats_1', 'temp'), { num_pending: 1 })
    const { follower } = await readShard()
    const replica = 'consumer/billing'
    const positions = { receivedSeqno: 11n, appliedUpTo: 0n, ...applied(7n) }
    expect(follower(replica)).toEqual({ replica, ...positions })
    expect(follower('consumer/temp')).toMatchObject({ receivedSeqno: 30n, appliedSeqno: 30n })
  })

  it('is never negative, nor further than the leader of the stream: counts can be too high', async () => {
    const { readShard, consumer, stream } = withConsumers()
    Object.assign(consumer('nats_2', 'billing'), { num_pending: 2 ** 64, num_ack_pending: 50 })
    stream('nats_2').state.messages = 30
    consumer('nats_1', 'temp').num_pending = 0
    stream('nats_1').state.last_seq = 40
    const { follower } = await readShard()
    const expected = { receivedSeqno: 1n, appliedSeqno: 0n }
    expect(follower('consumer/billing')).toMatchObject(expected)
    expect(follower('consumer/temp')).toMatchObject({ appliedSeqno: 31n })
  })

  it('has no position without a leader, or with one that has another stream or cannot be read', async () => {
    const { readShard, consumer, stream } = withConsumers()
    for (const server of SERVERS) delete consumer(server, 'billing').cluster?.leader
    stream('nats_1').created = OLD_DATE
    const { follower } = await readShard()
    for (const replica of ['consumer/billing', 'consumer/temp'])
      expect(follower(replica)).toEqual({ replica, connected: false })
    const other = withConsumers({ servers: ['http://nats_1', 'http://nats_2'] })
    for (const server of SERVERS) other.consumer(server, 'billing').cluster = { leader: 'nats_3' }
    const unread = (await other.readShard()).follower('consumer/billing')
    expect(unread).toEqual(unreadable('consumer/billing', NOT_GIVEN))
  })

  describe('has applied everything', () => {
    const at = async (fake: Fake, last: number, state: object) => {
      for (const server of SERVERS)
        Object.assign(fake.stream(server).state, { last_seq: last, messages: last })
      const caughtUp = { num_pending: 0, num_ack_pending: 0 }
      Object.assign(fake.consumer('nats_2', 'billing'), caughtUp, state)
      return (await fake.readShard()).follower('consumer/billing')?.appliedUpTo
    }
    const seen = (delivered: number | undefined, acknowledged: number | undefined, more = {}) => ({
      delivered: { stream_seq: delivered },
      ack_floor: acknowledged === undefined ? undefined : { stream_seq: acknowledged },
      ...more,
    })

    it.each([
      ['the first message that is not acknowledged', seen(100, 40, { num_ack_pending: 1 }), 40n],
      ['the last message, if all is acknowledged', seen(60, 40, { num_pending: 2 }), 60n],
      ['the start, if nothing more is known', seen(undefined, undefined, { num_pending: 2 }), 0n],
      ['its position at most', seen(0, 99, { num_ack_pending: 70 }), 30n],
    ])('up to %s', async (_, state, expected) => {
      expect(await at(createFake(CONSUMERS), 100, state)).toBe(expected)
    })

    it('up to the end of the stream at the last reading in which it waited for nothing', async () => {
      const fake = createFake(CONSUMERS)
      expect(await at(fake, 100, seen(10, 10))).toBe(100n)
      expect(await at(fake, 200, seen(10, 10, { num_pending: 1 }))).toBe(100n)
      expect(await at(fake, 400, seen(250, 10, { num_ack_pending: 1 }))).toBe(100n)
      expect(await at(fake, 500, seen(250, 10))).toBe(500n)
    })

    it('in the history of this consumer and stream only', async () => {
      const fake = createFake(CONSUMERS)
      expect(await at(fake, 100, {})).toBe(100n)
      const again = { created: '2026-11-26T00:00:00Z', num_pending: 40 }
      expect(await at(fake, 100, again)).toBe(0n)
      expect(await at(fake, 110, { ...again, num_pending: 0 })).toBe(110n)
      // The stream starts again at 0.
      expect(await at(fake, 50, { ...again, num_pending: 20 })).toBe(0n)
    })
  })
})

describe('accounts', () => {
  interface Account {
    name: string
    id?: string
  }
  const withAccounts = (...accounts: Account[]) => {
    const fake = createFake({ servers: ['http://nats_2'] })
    const { account_details } = fake.answers['nats_2']?.jsz as { account_details: object[] }
    const set = (...names: Account[]) => {
      const details = names.map((each) => ({ ...account_details[0], id: undefined, ...each }))
      fake.change('nats_2', { jsz: { account_details: details } })
    }
    set(...accounts)
    const shards = async () => {
      const names = (await fake.read()).shards.map(({ shard }) => String(shard))
      return names.filter((each) => each.includes('ORDERS'))
    }
    return { ...fake, set, shards }
  }

  it('are part of the name of a shard', async () => {
    const { shards } = withAccounts({ name: '$G' }, { name: 'A' }, { name: 'B', id: 'ABC' })
    expect(await shards()).toEqual(['ORDERS', 'A/ORDERS', 'B/ORDERS'])
  })

  it('of the same name are distinguished by their ids, for as long as both exist', async () => {
    const first = { name: 'B', id: 'ID1' }
    const { shards, set, meta } = withAccounts(first, { name: 'B', id: 'ID2' })
    expect(await shards()).toEqual(['ID1/ORDERS', 'ID2/ORDERS'])
    set(first)
    expect(await shards()).toEqual(['ID1/ORDERS'])
    // The only server is the whole cluster.
    Object.assign(meta('nats_2'), { replicas: [], cluster_size: 1 })
    await shards()
    expect(await shards()).toEqual(['B/ORDERS'])
  })

  it('are asked for if the streams are all of one', async () => {
    const pathsFor = async (...streams: string[]) => {
      const { read, paths } = createFake({ streams })
      await read()
      return paths.find((path) => path.startsWith('/jsz'))
    }
    expect(await pathsFor('A b/ORDERS', 'A b/X')).toContain('&accounts=true&acc=A%20b')
    for (const streams of [['ORDERS'], ['A/X', 'B/X'], ['A/X', 'X'], []])
      expect(await pathsFor(...streams)).not.toContain('acc=')
  })

  it.each([
    ['ORDERS', ['ORDERS', 'A/ORDERS']],
    ['A/ORDERS', ['A/ORDERS']],
  ])('can be named in the option `streams`: %s', async (name, expected) => {
    const { read, answers } = createFake({ streams: [name], servers: ['http://nats_2'] })
    const { account_details } = answers['nats_2']?.jsz as { account_details: object[] }
    account_details.push({ ...account_details[0], name: 'A', id: undefined })
    expect((await read()).shards.map(({ shard }) => shard)).toEqual(expected)
  })
})

describe('what is invalid in an answer', () => {
  it.each<[string, object, string]>([
    ['last_seq', { state: { messages: 1, last_seq: -1 } }, '-1'],
    ['created', { created: '' }, '""'],
    ['state', { state: 'none' }, '"none"'],
    ['leader', { cluster: { leader: 7 }, consumer_detail: [] }, '7'],
    ['replicas', { cluster: { replicas: 7 }, consumer_detail: [] }, '7'],
    ['cluster', { cluster: 7, consumer_detail: [] }, '7'],
  ])('leaves out the position of one stream only: %s', async (field, fields, value) => {
    const fake = createFake(CONSUMERS)
    Object.assign(fake.stream('nats_2'), fields)
    const { shards, complete } = await fake.read()
    const problem = `nats_2: field ${field} has an invalid value: ${value}`
    expect(shards).toMatchObject([{ problem }, { leaderSeqno: 0n }, { leaderSeqno: 31n }])
    expect(shards[0]?.leaderSeqno).toBeUndefined()
    expect(complete).toBe(false)
  })

  it.each<[string, object]>([
    ['account X: field stream_detail', { name: 'X', stream_detail: 7 }],
    ['account without a name: field name', {}],
    ['stream without a name of account X: field name', { name: 'X', stream_detail: [{}] }],
  ])('is named if it belongs to no stream: %s', async (fault, account) => {
    const { unread, complete, leaderSeqno } = await readAfter(({ answers }) => {
      const { account_details } = answers['nats_1']?.jsz as { account_details: object[] }
      account_details.push(account)
    })
    expect(unread).toContain(`nats_1: ${fault}`)
    expect({ complete, leaderSeqno }).toEqual({ complete: false, leaderSeqno: 31n })
  })

  it('is not a large number: that is exact in a position, and is a long time', async () => {
    const { leaderSeqno, problem, follower } = await readAfter(({ text }) => {
      text.replace = (json) => json.replace(/"(last_seq|active)":\d+/g, '"$1":9007199254740993')
    })
    expect({ leaderSeqno, problem }).toEqual({ leaderSeqno: 2n ** 53n + 1n })
    expect(follower('nats_1')).toMatchObject({ connected: false, appliedSeqno: 2n ** 53n + 1n })
  })

  it('makes a valid reading or one clear error', async () => {
    const server = ({ jsz, varz }: ReturnType<typeof answersOf>) =>
      fc.record({ jsz: mutated<object>(jsz), varz: fc.constant(varz) })
    const servers = SERVERS.map((name) => [name, server(answersOf(name))] as const)
    const answers = fc.record(Object.fromEntries(servers))
    await fc.assert(
      fc.asyncProperty(fc.array(answers, { maxLength: 4 }), async (reads) => {
        const fake = createFake(CONSUMERS)
        for (const each of reads) {
          Object.assign(fake.answers, each)
          validate(
            await fake.read().catch((error: unknown) => error),
            /field \w+ (is missing|has an invalid value)|JetStream|stream can be read|different servers/,
          )
        }
      }),
      { numRuns: 150 },
    )
  })
})

describe('an error says what to do', () => {
  const { varz } = answersOf('nats_1')
  const disabled = { server_id: varz.server_id, disabled: true }
  const withoutJetStream = (health: unknown) => (path: string) =>
    path === '/varz' ? varz : path === '/healthz' ? health : disabled
  const cause = new Error('Response does not match the HTTP/1.1 protocol (Expected HTTP/)')
  const notHttp = new TypeError('fetch failed', { cause })
  const MONITORING = 'this is not a NATS monitoring port: '

  it.each<[string, string, (path: string) => unknown]>([
    ['clients', 'not a port for HTTP: give the monitoring port', () => Promise.reject(notHttp)],
    ['another web server', MONITORING, () => new FakeResponse(200, '<html>')],
    ['another API', MONITORING, () => ({})],
    ['https', 'begin the URL with https://', () => new FakeResponse(400, 'to an HTTPS server.')],
    ['no JetStream', 'JetStream is not enabled on these', withoutJetStream({ status: 'ok' })],
    [
      'a failed JetStream',
      'but does not run. Its log',
      withoutJetStream(new FakeResponse(503, '{}')),
    ],
  ])('for a port of %s', async (_, message, answer) => {
    const source = jetstreamSource({ servers: ['http://nats_1:8222'], fetch: fakeFetch(answer) })
    await expect(source.read(AbortSignal.timeout(5000))).rejects.toThrow(message)
  })

  it('and a server without JetStream is no fault where others have it', async () => {
    const { read, answers, meta } = createFake()
    answers['nats_1'] = { varz, jsz: disabled }
    Object.assign(meta('nats_2'), { replicas: [{ name: 'nats_3' }], cluster_size: 2 })
    expect(await read()).toMatchObject({ complete: true, unread: undefined })
  })
})

describeOptions(jetstreamSource, { servers: ['http://nats_1:8222'] }, 'jetstream:nats_1:8222', [
  [{ servers: undefined }, 'servers: expected an array of distinct http'],
  [{ streams: 'ORDERS' }, 'streams: expected an array of names, got "ORDERS"'],
  [{ streams: [''] }, 'streams: expected an array of names, got an array'],
  [{ streams: null }, 'streams: expected an array of names, got null'],
  [{ consumers: 'yes' }, 'consumers: expected a boolean, got "yes"'],
  [{ fetch: 1 }, 'fetch: expected a function, got 1'],
])

it('the option `filter` sees what each follower is', async () => {
  const seen: unknown[] = []
  const filter: JetStreamSourceOptions['filter'] = (follower) => {
    seen.push(follower)
    return follower.kind === 'consumer' && !follower.isEphemeral
  }
  const { names } = await createFake({ ...CONSUMERS, filter }).readShard()
  expect(names).toEqual(['consumer/billing'])
  const of = { account: '$G', stream: 'ORDERS', isEphemeral: false }
  expect(seen).toContainEqual({ kind: 'server', replica: 'nats_1', ...of })
  expect(seen).toContainEqual({ kind: 'mirror', replica: 'mirror/COPY', ...of })
  const temp = { kind: 'consumer', replica: 'consumer/temp', ...of, isEphemeral: true }
  expect(seen).toContainEqual(temp)
})
