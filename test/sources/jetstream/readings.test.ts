import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, it } from 'vitest'
import { createFake, SERVERS } from './fakes.js'

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

describe('a reading', () => {
  it('has a shard for each stream, with the servers that do not lead it and its mirrors', async () => {
    const { read, stream } = createFake()
    stream('nats_1').state.last_seq = 20
    const { shards, note, complete } = await read()
    expect({ note, complete }).toEqual({ note: undefined, complete: true })
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
    const { readShard, stream, asked, setOnAsk } = createFake()
    await readShard()
    asked.length = 0
    setOnAsk(() => (stream('nats_2').state.last_seq = 40 + asked.length))
    expect(await readShard()).toMatchObject({
      leaderSeqno: 43n,
      followers: [
        { replica: 'nats_1', ...applied(31n, 43n) },
        { replica: 'nats_3', ...applied(31n, 43n) },
        { replica: 'mirror/COPY' },
      ],
    })
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
    const { read, asked, change, setOnAsk, stream } = createFake({ servers: ['http://nats_2'] })
    for (let i = 0; i < 3; i++) await read()
    stream('nats_2', 'COPY').created = '2026-11-26T00:00:00Z'
    asked.length = 0
    setOnAsk(() => {
      if (asked.length === 2) change('nats_2', { jsz: { server_id: 'OTHER' } })
    })
    await expect(read()).rejects.toThrow('http://nats_2: different servers answer in turn')
  })

  it('uses an answer that came after its read, and is not complete with it', async () => {
    const { read, delays } = createFake()
    await read()
    delays.set('nats_3', 600)
    const { shards, note } = await read(200)
    expect(note).toContain('http://nats_3:8222: no answer in time')
    expect(shards[0]?.followers[1]).toEqual(unreadable('nats_3', `cannot be read: ${String(note)}`))
    await sleep(600)
    const late = await read(200)
    expect(late.shards[0]?.followers[1]).toMatchObject({ connected: true, ...applied(31n) })
    expect(late.complete).toBe(false)
  })

  it('does not fail if a server hangs, even if garbage is collected meanwhile', async () => {
    setFlagsFromString('--expose-gc')
    const collectGarbage = runInNewContext('gc') as () => void
    const { readShard, delays } = createFake()
    delays.set('nats_3', 60_000)
    const collecting = setTimeout(collectGarbage, 100)
    const { follower } = await readShard()
    clearTimeout(collecting)
    const why = 'no answer in time: check host, port, network, firewall and server'
    expect(follower('nats_3')).toEqual(
      unreadable('nats_3', `cannot be read: http://nats_3:8222: ${why}`),
    )
  })
})

describe('the leader of a stream', () => {
  it('is missing in the reading while there is none, and a problem says so', async () => {
    const { read, lead } = createFake()
    lead(undefined)
    const { shards, complete } = await read()
    expect(shards.map(({ shard, leaderSeqno }) => [shard, leaderSeqno])).toEqual([
      ['ORDERS', undefined],
      ['PART', 0n],
      ['COPY', 31n],
    ])
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
    const { read, answers } = createFake({ streams: ['ORDERS'] })
    delete answers['nats_2']
    await expect(read()).rejects.toThrow(
      'no stream can be read: ORDERS: its leader nats_2 cannot be read: http://nats_2:8222/jsz: fetch failed',
    )
  })

  it('is not a follower of its own, although it was one, even while the old leader is down', async () => {
    const { readShard, answers, lead, stream } = createFake()
    await readShard()
    lead('nats_1')
    delete answers['nats_2']
    Object.assign(stream('nats_1').cluster ?? {}, {
      replicas: [
        { name: 'nats_2', active: 1, offline: true },
        { name: 'nats_3', active: 1 },
      ],
    })
    const { names, removed, follower, complete } = await readShard()
    expect(names).toEqual(['nats_2', 'nats_3'])
    expect(follower('nats_2')).toEqual(
      unreadable('nats_2', 'cannot be read: http://nats_2:8222/jsz: fetch failed'),
    )
    expect({ removed, complete }).toEqual({ removed: ['nats_1'], complete: false })
  })

  it('must answer once more for its followers to have a position', async () => {
    const { readShard, answers, asked, setOnAsk, consumer } = createFake(CONSUMERS)
    for (const server of SERVERS) consumer(server, 'billing').cluster = { leader: 'nats_1' }
    setOnAsk(() => {
      if (asked.length === 7) delete answers['nats_2']
    })
    const { leaderSeqno, followers, complete } = await readShard()
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
    const old = stream('nats_1')
    Object.assign(old, { cluster: { leader: 'nats_1' }, ...fields })
    Object.assign(old.state, state)
    expect(await readShard()).toMatchObject({
      leaderSeqno: 31n,
      names: [...FOLLOWERS, 'mirror/COPY'],
      problem: 'nats_1 and nats_2 say that they lead it',
    })
    Object.assign(stream('nats_3').cluster ?? {}, { leader: 'nats_3' })
    stream('nats_3').state.last_seq = 32
    expect(await readShard()).toMatchObject({ leaderSeqno: 32n })
  })

  it('is the one that more servers follow, if two with the same messages claim to lead', async () => {
    const { readShard, stream } = createFake()
    Object.assign(stream('nats_1').cluster ?? {}, { leader: 'nats_1' })
    expect(await readShard()).toMatchObject({
      removed: ['nats_2'],
      names: [...FOLLOWERS, 'mirror/COPY'],
    })
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

describe('a server that holds a stream', () => {
  it.each([
    ['does not answer', {}, 'cannot be read: http://nats_3:8222/jsz: fetch failed'],
    ['is not among the URLs', { servers: ['http://nats_1', 'http://nats_2'] }, NOT_GIVEN],
  ])('is disconnected and has no position if it %s', async (_, options, problem) => {
    const { readShard, answers } = createFake(options)
    delete answers['nats_3']
    expect((await readShard()).follower('nats_3')).toEqual(unreadable('nats_3', problem))
  })

  it.each([
    ['disconnected if the leader says that it is offline', { offline: true }, false],
    ['disconnected if the leader has not heard of it for 16 s', { active: 16e9 }, false],
    ['disconnected if the leader has never heard of it', { active: -1 }, false],
    ['connected if the leader does not say when it heard of it', { active: undefined }, true],
  ])('is %s', async (_, state, connected) => {
    const { readShard, stream } = createFake()
    Object.assign(stream('nats_2').cluster?.replicas?.[0] ?? {}, state)
    const expected = { replica: 'nats_1', connected, ...applied(31n) }
    expect((await readShard()).follower('nats_1')).toEqual(expected)
  })

  it('has no position while it has no copy, or the copy of a stream of another date', async () => {
    const { readShard, stream } = createFake()
    stream('nats_1').created = OLD_DATE
    stream('nats_3').name = 'OTHER'
    const { follower } = await readShard()
    for (const replica of FOLLOWERS) expect(follower(replica)).toEqual({ replica, connected: true })
  })

  it('has no position if it has more than its leader', async () => {
    const { readShard, stream } = createFake()
    stream('nats_3').state.last_seq = 32
    expect((await readShard()).follower('nats_3')).toEqual({
      replica: 'nats_3',
      diverged: true,
      problem: 'it has messages that the leader does not have: they have diverged',
    })
  })

  it('is not taken for removed if the leader does not know its name', async () => {
    const { readShard, stream } = createFake()
    const [first] = stream('nats_2').cluster?.replicas ?? []
    if (first) first.name = 'Server name unknown at this time (peerID: S4Af1LEb)'
    expect(await readShard()).toMatchObject({ names: ['nats_3', 'mirror/COPY'], complete: false })
    if (first) first.name = 'nats_1'
    expect(await readShard()).toMatchObject({ complete: true })
  })
})

describe('a reading is complete', () => {
  it('only if all servers answered', async () => {
    const { read, answers } = createFake()
    const { nats_3 } = answers
    delete answers['nats_3']
    expect(await read()).toMatchObject({ complete: false })
    answers['nats_3'] = nats_3
    await read()
    expect(await read()).toMatchObject({ complete: true })
  })

  it('without a server that was removed from the cluster, although its URL is still there', async () => {
    const { read, answers, meta, stream } = createFake()
    await read()
    delete answers['nats_3']
    Object.assign(meta('nats_2'), { replicas: [{ name: 'nats_1' }], cluster_size: 2 })
    stream('nats_2').cluster?.replicas?.pop()
    const { shards, complete, note } = await read()
    expect(complete).toBe(true)
    expect(shards[0]?.followers.map(({ replica }) => replica)).toEqual(['nats_1', 'mirror/COPY'])
    expect(note).toBe('http://nats_3:8222/jsz: fetch failed')
  })

  const replicas = (...names: string[]) => ({ replicas: names.map((name) => ({ name })) })
  it.each([
    ['is not among the URLs', replicas('nats_1', 'nats_3', 'nats_4')],
    ['has no known name', replicas('nats_1', 'Server name unknown at this time')],
    ['is missing in the list', replicas('nats_1')],
    ['leads it cannot be found', { leader: '' }],
  ])('only if no server of the cluster %s', async (_, state) => {
    const { read, meta } = createFake()
    Object.assign(meta('nats_2'), state)
    expect(await read()).toMatchObject({ complete: false })
  })

  it('only when a server that has just started says that it has listed its streams', async () => {
    const fake = createFake()
    await fake.read()
    fake.health = { status: 'unavailable' }
    fake.restart('nats_1')
    for (let i = 0; i < 2; i++) expect(await fake.read()).toMatchObject({ complete: false })
    fake.health = { status: 'ok' }
    expect(await fake.read()).toMatchObject({ complete: true })
    fake.asked.length = 0
    expect(await fake.read()).toMatchObject({ complete: true })
    expect(fake.asked).not.toContain('nats_1 /healthz')
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
    const { read, change } = createFake()
    change('nats_1', { varz: { start, now: '2026-11-25T23:40:20Z' } })
    expect(await read()).toMatchObject({ complete })
  })

  it('even without any stream, when the last one was deleted', async () => {
    const { read, change, meta } = createFake()
    await read()
    for (const server of SERVERS) change(server, { jsz: { account_details: undefined } })
    expect(await read()).toEqual({
      shards: [],
      complete: true,
      note: 'JetStream has none of the configured streams',
    })
    Object.assign(meta('nats_2'), { leader: 'nats_3' })
    expect(await read()).toMatchObject({ shards: [], complete: false })
  })
})

describe('a consumer', () => {
  /** Here the only replica of one of the consumers is on another server than the leader of the stream. */
  const withConsumers = () => {
    const fake = createFake(CONSUMERS)
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
    expect(follower('consumer/billing')).toEqual({
      replica: 'consumer/billing',
      receivedSeqno: 11n,
      appliedUpTo: 0n,
      ...applied(7n),
    })
    expect(follower('consumer/temp')).toMatchObject({ receivedSeqno: 30n, appliedSeqno: 30n })
  })

  it('is never negative: pending counts can be too high', async () => {
    const { readShard, consumer, stream } = withConsumers()
    Object.assign(consumer('nats_2', 'billing'), { num_pending: 2 ** 64, num_ack_pending: 50 })
    stream('nats_2').state.messages = 30
    const expected = { receivedSeqno: 1n, appliedSeqno: 0n }
    expect((await readShard()).follower('consumer/billing')).toMatchObject(expected)
  })

  it('is at most as far as the leader of the stream', async () => {
    const { readShard, consumer, stream } = withConsumers()
    consumer('nats_1', 'temp').num_pending = 0
    stream('nats_1').state.last_seq = 40
    expect((await readShard()).follower('consumer/temp')).toMatchObject({ appliedSeqno: 31n })
  })

  it('has no position without a leader, or with one that has another stream', async () => {
    const { readShard, consumer, stream } = withConsumers()
    for (const server of SERVERS) delete consumer(server, 'billing').cluster?.leader
    stream('nats_1').created = OLD_DATE
    const { follower } = await readShard()
    for (const replica of ['consumer/billing', 'consumer/temp'])
      expect(follower(replica)).toEqual({ replica, connected: false })
  })

  it('has no position if its leader cannot be read', async () => {
    const servers = ['http://nats_1', 'http://nats_2']
    const { readShard, consumer } = createFake({ ...CONSUMERS, servers })
    for (const server of SERVERS) consumer(server, 'billing').cluster = { leader: 'nats_3' }
    const { follower } = await readShard()
    expect(follower('consumer/billing')).toEqual(unreadable('consumer/billing', NOT_GIVEN))
  })

  it('is missing in a complete reading when it was removed', async () => {
    const { readShard, stream } = withConsumers()
    expect((await readShard()).names).toContain('consumer/temp')
    delete stream('nats_1').consumer_detail
    const { names, complete } = await readShard()
    expect(names).not.toContain('consumer/temp')
    expect(complete).toBe(true)
  })

  describe('has applied everything', () => {
    const at = async (fake: ReturnType<typeof createFake>, last: number, state: object) => {
      for (const server of SERVERS)
        Object.assign(fake.stream(server).state, { last_seq: last, messages: last })
      const caughtUp = { num_pending: 0, num_ack_pending: 0 }
      Object.assign(fake.consumer('nats_2', 'billing'), caughtUp, state)
      const { follower } = await fake.readShard()
      return follower('consumer/billing')?.appliedUpTo
    }
    const seen = (delivered: number | undefined, acknowledged: number | undefined, more = {}) => ({
      delivered: { stream_seq: delivered },
      ack_floor: acknowledged === undefined ? undefined : { stream_seq: acknowledged },
      ...more,
    })

    it.each([
      [
        'to the first message that it has not acknowledged',
        seen(100, 40, { num_ack_pending: 1 }),
        40n,
      ],
      [
        'to the last message that it was sent, if it acknowledged all',
        seen(60, 40, { num_pending: 2 }),
        60n,
      ],
      [
        'to the start, if nothing more is known',
        seen(undefined, undefined, { num_pending: 2 }),
        0n,
      ],
      ['to its position at most', seen(0, 99, { num_ack_pending: 70 }), 30n],
    ])('up %s', async (_, state, expected) => {
      expect(await at(createFake(CONSUMERS), 100, state)).toBe(expected)
    })

    it('up to the end of the stream at the last reading in which it waited for nothing', async () => {
      const fake = createFake(CONSUMERS)
      expect(await at(fake, 100, seen(10, 10))).toBe(100n)
      expect(await at(fake, 200, seen(10, 10, { num_pending: 1 }))).toBe(100n)
      expect(await at(fake, 300, seen(10, 10, { num_pending: 2 }))).toBe(100n)
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

describe('a mirror', () => {
  it.each([
    ['a filter', { name: 'ORDERS', filter_subject: 'orders.a' }],
    ['transforms', { name: 'ORDERS', subject_transforms: [{ src: 'orders.a', dest: '' }] }],
    ['another domain', { name: 'ORDERS', external: { api: '$JS.hub.API' } }],
    ['another stream', { name: 'ELSEWHERE' }],
    ['no configuration', undefined],
  ])('with %s is not compared with the upstream', async (_, mirror) => {
    const { readShard, stream } = createFake()
    stream('nats_2', 'COPY').config.mirror = mirror
    expect((await readShard()).names).toEqual(FOLLOWERS)
  })

  it.each<[object, object]>([
    [{ active: 16e9 }, {}],
    [{ active: -1 }, {}],
    [{ error: { description: 'stream not found' } }, { problem: 'stream not found' }],
    [{ error: {} }, { problem: 'it has an error' }],
  ])('is disconnected if it hears nothing or has an error: %o', async (state, more) => {
    const { readShard, stream } = createFake()
    Object.assign(stream('nats_2', 'COPY').mirror ?? {}, state)
    const expected = { replica: 'mirror/COPY', connected: false, ...applied(31n), ...more }
    expect((await readShard()).follower('mirror/COPY')).toEqual(expected)
  })

  it.each([{ last_seq: 32 }, { last_ts: OLD_DATE }])(
    'has no position if its messages are of an older upstream: %o',
    async (state) => {
      const { readShard, stream } = createFake()
      Object.assign(stream('nats_2', 'COPY').state, state)
      expect((await readShard()).follower('mirror/COPY')).toEqual({
        replica: 'mirror/COPY',
        diverged: true,
        problem: 'its upstream was recreated, and it still has messages of the old one',
      })
    },
  )

  it('of a mirror has a position, although its messages are older than that', async () => {
    const { readShard, stream } = createFake()
    stream('nats_2', 'COPY').state.last_ts = OLD_DATE
    const mirror = { name: 'ORIGIN', active: 0 }
    Object.assign(stream('nats_2'), { mirror, config: { num_replicas: 3, mirror } })
    expect((await readShard()).follower('mirror/COPY')).toMatchObject({ appliedSeqno: 31n })
  })

  it('has a position before it has any message', async () => {
    const { readShard, stream } = createFake()
    stream('nats_2', 'COPY').state = stream('nats_1', 'PART').state
    expect((await readShard()).follower('mirror/COPY')).toMatchObject({ appliedSeqno: 0n })
  })
})

describe('accounts', () => {
  const withAccounts = (...accounts: { name: string; id?: string }[]) => {
    const fake = createFake({ servers: ['http://nats_2'] })
    const { account_details } = fake.answers['nats_2']?.jsz as { account_details: object[] }
    const set = (...names: { name: string; id?: string }[]) => {
      const details = names.map((each) => ({ ...account_details[0], id: undefined, ...each }))
      fake.change('nats_2', { jsz: { account_details: details } })
    }
    set(...accounts)
    const shards = async () => {
      const reading = await fake.read()
      return reading.shards
        .map(({ shard }) => String(shard))
        .filter((each) => each.includes('ORDERS'))
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
    const { shards } = await read()
    expect(shards.map(({ shard }) => shard)).toEqual(expected)
  })
})

describe('an option', () => {
  it('`streams` that do not exist are noted', async () => {
    const { read, answers } = createFake({ streams: ['NONE'] })
    expect(await read()).toEqual({
      shards: [],
      complete: true,
      note: 'JetStream has none of the configured streams',
    })
    delete answers['nats_3']
    expect(await read()).toMatchObject({ note: 'http://nats_3:8222/jsz: fetch failed' })
  })

  it('`filter` sees what each follower is', async () => {
    const seen: unknown[] = []
    const { readShard } = createFake({
      ...CONSUMERS,
      filter: (follower) => {
        seen.push(follower)
        return follower.kind === 'consumer' && !follower.isEphemeral
      },
    })
    expect((await readShard()).names).toEqual(['consumer/billing'])
    const of = { account: '$G', stream: 'ORDERS', isEphemeral: false }
    expect(seen).toContainEqual({ kind: 'server', replica: 'nats_1', ...of })
    expect(seen).toContainEqual({ kind: 'mirror', replica: 'mirror/COPY', ...of })
    const temp = { kind: 'consumer', replica: 'consumer/temp', ...of, isEphemeral: true }
    expect(seen).toContainEqual(temp)
  })
})
