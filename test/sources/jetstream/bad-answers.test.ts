import fc from 'fast-check'
import { jetstreamSource } from 'opentelemetry-instrumentation-replication-lag/sources/jetstream'
import { describe, expect, it } from 'vitest'
import { describeOptions } from '../shared/describe-options.js'
import { fakeFetch, FakeResponse, mutated, validate } from '../shared/fakes.js'
import { answersOf, createFake } from './fakes.js'

describe('what is invalid in an answer', () => {
  const change = (change: (fake: ReturnType<typeof createFake>) => void) => {
    const fake = createFake({ consumers: true })
    change(fake)
    return fake
  }

  it.each<[string, object, string]>([
    ['last_seq', { state: { messages: 1, last_seq: -1 } }, '-1'],
    ['created', { created: '' }, '""'],
    ['state', { state: 'none' }, '"none"'],
    ['leader', { cluster: { leader: 7 }, consumer_detail: [] }, '7'],
    ['replicas', { cluster: { replicas: 7 }, consumer_detail: [] }, '7'],
    ['cluster', { cluster: 7, consumer_detail: [] }, '7'],
  ])(
    'leaves out the position of one stream only, and is named: %s',
    async (field, fields, value) => {
      const { read } = change(({ stream }) => Object.assign(stream('nats_2'), fields))
      const { shards, complete } = await read()
      expect(shards).toMatchObject([
        { shard: 'ORDERS', problem: `nats_2: field ${field} has an invalid value: ${value}` },
        { shard: 'PART', leaderSeqno: 0n },
        { shard: 'COPY', leaderSeqno: 31n },
      ])
      expect(shards[0]?.leaderSeqno).toBeUndefined()
      expect(complete).toBe(false)
    },
  )

  it.each<[string, object, string]>([
    ['the age', { name: 'nats_1', active: 'long' }, 'replica nats_1: field active'],
    ['the name', { name: 7 }, 'replica without a name: field name'],
  ])('leaves out one replica only, and is named: %s', async (_, replica, fault) => {
    const { readShard } = change(({ stream }) => {
      Object.assign(stream('nats_2').cluster ?? {}, { replicas: [replica, { name: 'nats_3' }] })
    })
    const { names, problem, leaderSeqno, complete } = await readShard()
    expect(names).toEqual(['nats_3', 'consumer/billing', 'consumer/temp', 'mirror/COPY'])
    expect(problem).toContain(`nats_2: ${fault}`)
    expect({ leaderSeqno, complete }).toEqual({ leaderSeqno: 31n, complete: false })
  })

  it('leaves out the consumers of one server, and is named', async () => {
    const { readShard } = change(({ stream }) => {
      Object.assign(stream('nats_2'), { consumer_detail: 7 })
    })
    expect(await readShard()).toMatchObject({
      problem: 'nats_2: field consumer_detail has an invalid value: 7',
      leaderSeqno: 31n,
      complete: false,
    })
  })

  it('makes one copy of a stream unknown, and not the stream', async () => {
    const { readShard } = change(({ stream }) => (stream('nats_3').state.last_seq = 1.5))
    const { follower, leaderSeqno } = await readShard()
    const problem = 'cannot be read: field last_seq has an invalid value: 1.5'
    expect(follower('nats_3')).toEqual({ replica: 'nats_3', connected: false, problem })
    expect(follower('nats_1')).toMatchObject({ connected: true, appliedSeqno: 31n })
    expect(leaderSeqno).toBe(31n)
  })

  it.each<[string, object]>([
    ['num_pending', { num_pending: undefined }],
    ['num_ack_pending', { num_ack_pending: -1 }],
    ['ack_floor.stream_seq', { ack_floor: { stream_seq: 'x' } }],
    ['leader', { cluster: { leader: 7 } }],
  ])('makes one consumer unknown, and is named: %s', async (field, fields) => {
    const { readShard } = change(({ consumer }) => {
      Object.assign(consumer('nats_2', 'temp'), fields)
    })
    const { follower, problem } = await readShard()
    expect(follower('consumer/temp')).toEqual({
      replica: 'consumer/temp',
      connected: false,
      problem: expect.stringContaining(`cannot be read: field ${field}`) as string,
    })
    expect(follower('consumer/billing')).toMatchObject({ appliedSeqno: 0n })
    expect(problem).toBeUndefined()
  })

  it('is named if it is the name of a consumer', async () => {
    const { readShard } = change(({ consumer }) => (consumer('nats_2', 'temp').name = ''))
    expect(await readShard()).toMatchObject({
      names: ['nats_1', 'nats_3', 'consumer/billing', 'mirror/COPY'],
      problem: 'nats_2: consumer without a name: field name has an invalid value: ""',
      complete: false,
    })
  })

  it.each(['active', 'error'])('makes one mirror disconnected: %s', async (field) => {
    const { readShard } = change(({ stream }) => {
      Object.assign(stream('nats_2', 'COPY'), { mirror: { name: 'ORDERS', [field]: 'x' } })
    })
    expect((await readShard()).follower('mirror/COPY')).toMatchObject({
      connected: false,
      problem: `field ${field} has an invalid value: "x"`,
    })
  })

  it.each<[string, object]>([
    ['account X: field stream_detail', { name: 'X', stream_detail: 7 }],
    ['account without a name: field name', {}],
    ['stream without a name of account X: field name', { name: 'X', stream_detail: [{}] }],
  ])('is noted if it belongs to no stream: %s', async (fault, account) => {
    const { read } = change(({ answers }) => {
      const { account_details } = answers['nats_1']?.jsz as { account_details: object[] }
      account_details.push(account)
    })
    const { shards, complete, note } = await read()
    expect(shards).toHaveLength(3)
    expect(complete).toBe(false)
    expect(note).toContain(`nats_1: ${fault}`)
  })

  it('fails the server if nothing can be read', async () => {
    const { readShard } = change(({ change }) => {
      change('nats_1', { jsz: { account_details: 7 } })
    })
    expect((await readShard()).follower('nats_1')).toMatchObject({
      connected: false,
      problem: expect.stringContaining('nats_1:8222/jsz: field account_details') as string,
    })
  })
})

it('a large number is exact in a position, and is a long time', async () => {
  const { readShard, text } = createFake()
  text.replace = (json) => json.replace(/"(last_seq|active)":\d+/g, '"$1":9007199254740993')
  const { leaderSeqno, problem, follower } = await readShard()
  expect({ leaderSeqno, problem }).toEqual({ leaderSeqno: 2n ** 53n + 1n, problem: undefined })
  expect(follower('nats_1')).toMatchObject({ connected: false, appliedSeqno: 2n ** 53n + 1n })
})

it('any answers make a valid reading or one clear error', async () => {
  const server = ({ jsz, varz }: ReturnType<typeof answersOf>) =>
    fc.record({ jsz: mutated<object>(jsz), varz: fc.constant(varz) })
  const answers = fc.record({
    nats_1: server(answersOf('nats_1')),
    nats_2: server(answersOf('nats_2')),
    nats_3: server(answersOf('nats_3')),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(answers, { maxLength: 4 }), async (reads) => {
      const fake = createFake({ consumers: true })
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

describe('an error says what to do', () => {
  const { varz } = answersOf('nats_1')
  const disabled = { server_id: varz.server_id, disabled: true }
  const withoutJetStream = (health: unknown) => (path: string) =>
    path === '/varz' ? varz : path === '/healthz' ? health : disabled

  it.each<[string, RegExp, (path: string) => unknown]>([
    [
      'a port for clients of NATS',
      /this is not a port for HTTP: give the monitoring port of the server, `http_port`/,
      () => {
        throw new TypeError('fetch failed', {
          cause: new Error('Response does not match the HTTP/1.1 protocol (Expected HTTP/)'),
        })
      },
    ],
    [
      'another web server',
      /the answer is not JSON: "<html>": this is not a NATS monitoring port: /,
      () => new FakeResponse(200, '<html>'),
    ],
    ['another API', /field server_id is missing: this is not a NATS monitoring port: /, () => ({})],
    [
      'a port for https',
      /this port is for https: begin the URL with https:\/\//,
      () => new FakeResponse(400, 'Client sent an HTTP request to an HTTPS server.'),
    ],
    [
      'a server without JetStream',
      /^JetStream is not enabled on these servers\. Enable it in their configuration/,
      withoutJetStream({ status: 'ok' }),
    ],
    [
      'a server whose JetStream has failed',
      /JetStream is enabled in the configuration of this server, but does not run\. Its log says why/,
      withoutJetStream(new FakeResponse(503, '{"status":"unavailable"}')),
    ],
  ])('for %s', async (_, message, answer) => {
    const source = jetstreamSource({ servers: ['http://nats_1:8222'], fetch: fakeFetch(answer) })
    await expect(source.read(AbortSignal.timeout(5000))).rejects.toThrow(message)
  })

  it('and a server without JetStream is no fault where others have it', async () => {
    const { read, answers, meta } = createFake()
    answers['nats_1'] = { varz, jsz: disabled }
    Object.assign(meta('nats_2'), { replicas: [{ name: 'nats_3' }], cluster_size: 2 })
    expect(await read()).toMatchObject({ complete: true, note: undefined })
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
