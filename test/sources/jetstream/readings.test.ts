import { describe, expect, it } from 'vitest'
import { createFake } from './fakes.js'

const LEADERLESS = 'JetStream has streams without a leader that can be read'
const SERVERS = ['nats_1', 'nats_3']

describe('a reading', () => {
  it('has a shard for each stream, with the servers that do not lead it and its mirrors', async () => {
    const { read, stream } = createFake()
    stream('nats_1').state.last_seq = 20
    const { shards, note } = await read()
    expect(note).toBeUndefined()
    expect(shards).toEqual([
      {
        shard: 'ORDERS',
        leaderSeqno: 31n,
        epoch: stream('nats_2').created,
        followers: [
          { replica: 'nats_1', connected: true, appliedSeqno: 20n },
          { replica: 'nats_3', connected: true, appliedSeqno: 31n },
          { replica: 'mirror/COPY', connected: true, appliedSeqno: 31n },
        ],
        removed: [],
      },
      expect.objectContaining({ shard: 'PART', leaderSeqno: 0n, followers: [] }),
      expect.objectContaining({ shard: 'COPY', leaderSeqno: 31n, followers: [] }),
    ])
  })

  it('asks only servers that lead streams with followers once more, after all others', async () => {
    const { read, asked, stream, setOnAsk } = createFake()
    setOnAsk(() => {
      stream('nats_2').state.last_seq = 40 + asked.length
    })
    const { shards } = await read()
    expect(asked.slice(0, -1).sort()).toEqual(
      ['nats_1', 'nats_2', 'nats_3'].flatMap((each) => [`${each} /jsz`, `${each} /varz`]),
    )
    expect(asked.at(-1)).toBe('nats_2 /jsz')
    expect(shards[0]).toMatchObject({ shard: 'ORDERS', leaderSeqno: 47n })
  })

  it('asks for the name of a server again only if its id is another one', async () => {
    const { read, asked, answers } = createFake()
    await read()
    asked.length = 0
    await read()
    expect(asked).not.toContain('nats_1 /varz')
    Object.assign(answers['nats_1']?.jsz as object, { server_id: 'NEW' })
    Object.assign(answers['nats_1']?.varz as object, { server_id: 'NEW' })
    await read()
    expect(asked).toContain('nats_1 /varz')
  })

  it('has a server that does not answer as disconnected, without a position', async () => {
    const { readShard, answers } = createFake()
    delete answers['nats_3']
    expect((await readShard()).follower('nats_3')).toEqual({
      replica: 'nats_3',
      connected: false,
      problem: 'cannot be read: http://nats_3:8222/jsz: fetch failed',
    })
  })

  it('has a server that is not among the URLs as disconnected', async () => {
    const { readShard } = createFake({ servers: ['http://nats_1', 'http://nats_2'] })
    expect((await readShard()).follower('nats_3')).toEqual({
      replica: 'nats_3',
      connected: false,
      problem: 'cannot be read: no server of this name is among the monitoring URLs',
    })
  })

  it('fails if no server answers, and says why for each', async () => {
    const { read, answers } = createFake()
    for (const server of Object.keys(answers)) answers[server] = undefined
    await expect(read()).rejects.toThrow(
      /^no server of JetStream can be read: http:\/\/nats_1:8222\/jsz: fetch failed; http:\/\/nats_2/,
    )
  })

  it('fails for a URL that different servers answer at', async () => {
    const { read, answers } = createFake({ servers: ['http://nats_1'] })
    Object.assign(answers['nats_1']?.varz as object, { server_id: 'OTHER' })
    await expect(read()).rejects.toThrow('http://nats_1: different servers answer in turn')
  })

  it('fails with the reason if it is aborted', async () => {
    const { source } = createFake()
    const reason = new Error('the deadline')
    await expect(source.read(AbortSignal.abort(reason))).rejects.toBe(reason)
  })
})

describe('the leader of a stream', () => {
  it('is left out of the reading while there is none, and so is its stream', async () => {
    const { read, lead } = createFake()
    lead(undefined)
    const { shards, note } = await read()
    expect(shards.map(({ shard }) => shard)).toEqual(['PART', 'COPY'])
    expect(note).toBe(LEADERLESS)
  })

  it('must exist for at least one of the streams', async () => {
    const { read, answers } = createFake({ streams: ['ORDERS'] })
    delete answers['nats_2']
    await expect(read()).rejects.toThrow(`${LEADERLESS}: http://nats_2:8222/jsz: fetch failed`)
  })

  it('must answer once more', async () => {
    const { read, answers, asked, setOnAsk } = createFake()
    setOnAsk(() => {
      if (asked.length === 7) delete answers['nats_2']
    })
    const { shards, note } = await read()
    expect(shards.map(({ shard }) => shard)).toEqual(['PART'])
    expect(note).toBe(LEADERLESS)
  })

  it.each(['messages', 'date'])(
    'is the one with the newest %s, if two claim to lead',
    async (by) => {
      const { readShard, stream } = createFake()
      const old = stream('nats_1')
      Object.assign(old.cluster ?? {}, { leader: 'nats_1' })
      if (by === 'messages') old.state.last_seq = 30
      else
        Object.assign(old, {
          created: '2026-11-25T23:37:51.1Z',
          state: { ...old.state, last_seq: 99 },
        })
      expect(await readShard()).toMatchObject({
        leaderSeqno: 31n,
        names: [...SERVERS, 'mirror/COPY'],
      })
      Object.assign(stream('nats_3').cluster ?? {}, { leader: 'nats_3' })
      stream('nats_3').state.last_seq = 32
      expect(await readShard()).toMatchObject({ leaderSeqno: 32n })
    },
  )

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
  it.each([{ offline: true }, { active: 16e9 }, { active: -1 }])(
    'is disconnected if the leader has lost it: %o',
    async (state) => {
      const { readShard, stream } = createFake()
      Object.assign(stream('nats_2').cluster?.replicas?.[0] ?? {}, state)
      expect((await readShard()).follower('nats_1')).toEqual({
        replica: 'nats_1',
        connected: false,
        appliedSeqno: 31n,
      })
    },
  )

  it('is connected if the leader does not say when it was heard of', async () => {
    const { readShard, stream } = createFake()
    Object.assign(stream('nats_2').cluster?.replicas?.[0] ?? {}, { active: undefined })
    expect((await readShard()).follower('nats_1')).toMatchObject({ connected: true })
  })

  it('has no position while it has no copy, or the copy of a stream of another date', async () => {
    const { readShard, stream } = createFake()
    stream('nats_1').created = '2026-11-25T20:00:00Z'
    stream('nats_3').name = 'OTHER'
    const { follower } = await readShard()
    expect(follower('nats_1')).toEqual({ replica: 'nats_1', connected: true })
    expect(follower('nats_3')).toEqual({ replica: 'nats_3', connected: true })
  })

  it('has no position if it has more than its leader', async () => {
    const { readShard, stream } = createFake()
    stream('nats_3').state.last_seq = 32
    expect((await readShard()).follower('nats_3')).toEqual({
      replica: 'nats_3',
      connected: true,
      problem: 'it has messages that the leader does not have: they have diverged',
    })
  })

  it('is not taken for removed if the leader does not know its name', async () => {
    const { readShard, stream } = createFake()
    await readShard()
    const [first] = stream('nats_2').cluster?.replicas ?? []
    if (first) first.name = 'Server name unknown at this time (peerID: S4Af1LEb)'
    expect((await readShard()).removed).toBeUndefined()
    if (first) first.name = 'nats_4'
    expect((await readShard()).removed).toEqual(['nats_1'])
  })
})

describe('a consumer', () => {
  /** Here the only replica of one of the consumers is on another server than the leader of the stream. */
  const withConsumers = () => {
    const fake = createFake({ consumers: true })
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
      appliedSeqno: 7n,
    })
    expect(follower('consumer/temp')).toMatchObject({ receivedSeqno: 30n, appliedSeqno: 30n })
  })

  it('is never negative: pending counts can be too high', async () => {
    const { readShard, consumer, stream } = withConsumers()
    Object.assign(consumer('nats_2', 'billing'), { num_pending: 2 ** 64, num_ack_pending: 50 })
    stream('nats_2').state.messages = 30
    expect((await readShard()).follower('consumer/billing')).toMatchObject({
      receivedSeqno: 1n,
      appliedSeqno: 0n,
    })
  })

  it('is at most as far as the leader of the stream', async () => {
    const { readShard, consumer, stream } = withConsumers()
    consumer('nats_1', 'temp').num_pending = 0
    stream('nats_1').state.last_seq = 40
    expect((await readShard()).follower('consumer/temp')).toMatchObject({ appliedSeqno: 31n })
  })

  it('has no position without a leader, or with one that has another stream', async () => {
    const { readShard, consumer, stream } = withConsumers()
    for (const server of ['nats_1', 'nats_2', 'nats_3'] as const) {
      delete consumer(server, 'billing').cluster?.leader
    }
    stream('nats_1').created = '2026-11-25T20:00:00Z'
    const { follower } = await readShard()
    for (const replica of ['consumer/billing', 'consumer/temp']) {
      expect(follower(replica)).toEqual({ replica, connected: false })
    }
  })

  it('has no position if its leader cannot be read', async () => {
    const { readShard, consumer } = createFake({
      consumers: true,
      servers: ['http://nats_1', 'http://nats_2'],
    })
    for (const server of ['nats_1', 'nats_2'] as const) {
      Object.assign(consumer(server, 'billing').cluster ?? {}, { leader: 'nats_3' })
    }
    expect((await readShard()).follower('consumer/billing')).toEqual({
      replica: 'consumer/billing',
      connected: false,
      problem: 'cannot be read: no server of this name is among the monitoring URLs',
    })
  })

  it('is removed when no server has it any more, and only if all servers were read', async () => {
    const { readShard, stream, answers } = withConsumers()
    await readShard()
    const { nats_3 } = answers
    delete answers['nats_3']
    delete stream('nats_1').consumer_detail
    expect((await readShard()).removed).toBeUndefined()
    answers['nats_3'] = nats_3
    expect((await readShard()).removed).toEqual(['consumer/temp'])
    expect((await readShard()).removed).toEqual([])
  })
})

describe('a mirror', () => {
  it.each([
    { name: 'ORDERS', filter_subject: 'orders.a' },
    { name: 'ORDERS', subject_transforms: [{ src: 'orders.a', dest: '' }] },
    { name: 'ORDERS', external: { api: '$JS.hub.API' } },
    { name: 'ELSEWHERE' },
    undefined,
  ])('of a part, or of another domain, is not compared with the upstream: %#', async (mirror) => {
    const { readShard, stream } = createFake()
    stream('nats_2', 'COPY').config.mirror = mirror
    expect((await readShard()).names).toEqual(SERVERS)
  })

  it.each<[object, object]>([
    [{ active: 16e9 }, {}],
    [{ active: -1 }, {}],
    [{ error: { description: 'stream not found' } }, { problem: 'stream not found' }],
    [{ error: {} }, { problem: 'it has an error' }],
  ])('is disconnected if it hears nothing or has an error: %o', async (state, more) => {
    const { readShard, stream } = createFake()
    Object.assign(stream('nats_2', 'COPY').mirror ?? {}, state)
    expect((await readShard()).follower('mirror/COPY')).toEqual({
      replica: 'mirror/COPY',
      connected: false,
      appliedSeqno: 31n,
      ...more,
    })
  })

  it.each([{ last_seq: 32 }, { last_ts: '2026-11-25T20:00:00Z' }])(
    'has no position if its messages are of an older upstream: %o',
    async (state) => {
      const { readShard, stream } = createFake()
      Object.assign(stream('nats_2', 'COPY').state, state)
      expect((await readShard()).follower('mirror/COPY')).toEqual({
        replica: 'mirror/COPY',
        connected: true,
        problem: 'its upstream was recreated, and it still has messages of the old one',
      })
    },
  )

  it('of a mirror has a position, although its messages are older than that', async () => {
    const { readShard, stream } = createFake()
    stream('nats_2', 'COPY').state.last_ts = '2026-11-25T20:00:00Z'
    const upstream = {
      mirror: { name: 'ORIGIN', active: 0 },
      config: { num_replicas: 3, mirror: { name: 'ORIGIN' } },
    }
    Object.assign(stream('nats_2'), upstream)
    expect((await readShard()).follower('mirror/COPY')).toMatchObject({ appliedSeqno: 31n })
  })

  it('has a position before it has any message', async () => {
    const { readShard, stream } = createFake()
    Object.assign(stream('nats_2', 'COPY').state, { last_seq: 0, last_ts: '0001-01-01T00:00:00Z' })
    expect((await readShard()).follower('mirror/COPY')).toMatchObject({ appliedSeqno: 0n })
  })
})

describe('an option', () => {
  it.each([['ORDERS'], ['A/ORDERS']])(
    '`streams` takes names of streams and shards: %s',
    async (name) => {
      const { read, answers } = createFake({ streams: [name], servers: ['http://nats_2'] })
      const { account_details } = answers['nats_2']?.jsz as { account_details: object[] }
      account_details.push({ ...account_details[0], name: 'A', id: undefined })
      const { shards } = await read()
      expect(shards.map(({ shard }) => shard)).toEqual(
        name === 'ORDERS' ? ['ORDERS', 'A/ORDERS'] : ['A/ORDERS'],
      )
    },
  )

  it('`streams` that nobody has are noted', async () => {
    const { read, answers } = createFake({ streams: ['NONE'] })
    expect(await read()).toEqual({ shards: [], note: 'JetStream has none of the streams' })
    delete answers['nats_3']
    expect(await read()).toMatchObject({ note: 'http://nats_3:8222/jsz: fetch failed' })
  })

  it('`filter` sees what each follower is', async () => {
    const seen: unknown[] = []
    const { readShard } = createFake({
      consumers: true,
      filter: (follower) => {
        seen.push(follower)
        return follower.kind === 'consumer' && !follower.isEphemeral
      },
    })
    expect((await readShard()).names).toEqual(['consumer/billing'])
    const of = { account: '$G', stream: 'ORDERS', isEphemeral: false }
    expect(seen).toContainEqual({ kind: 'server', replica: 'nats_1', ...of })
    expect(seen).toContainEqual({ kind: 'mirror', replica: 'mirror/COPY', ...of })
    expect(seen).toContainEqual({
      ...of,
      kind: 'consumer',
      replica: 'consumer/temp',
      isEphemeral: true,
    })
  })

  it('fails if the filter does not return a boolean', async () => {
    const { read } = createFake({ filter: () => 1 as never })
    await expect(read()).rejects.toThrow(
      'filter: expected a function that returns a boolean, got 1',
    )
  })
})
