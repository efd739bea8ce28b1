import fc from 'fast-check'
import {
  jetstreamSource,
  type JetStreamSourceOptions,
} from 'opentelemetry-instrumentation-replication-lag/sources/jetstream'
import { describe, expect, it, onTestFinished } from 'vitest'
import { recordDiag } from '../../support/diag.js'
import { mutated, validate } from '../shared/http-fuzz.js'
import { ANSWERS } from './answers.js'
import { createFake } from './fakes.js'

describe('a field of an answer', () => {
  const read = (change: (fake: ReturnType<typeof createFake>) => void) => {
    const fake = createFake({ servers: ['http://nats_2'], consumers: true })
    change(fake)
    return fake.read()
  }

  it('is an unsigned integer that JSON can hold', async () => {
    for (const value of [undefined, null, '', '-1', -1, 1.5, 2 ** 53, true, [], {}]) {
      const reading = read(({ stream }) => (stream('nats_2').state.last_seq = value))
      await expect(reading).rejects.toThrow(
        /http:\/\/nats_2\/jsz: field last_seq (is missing|has an invalid value)/,
      )
    }
    const exact = await read(({ stream }) => (stream('nats_2').state.last_seq = `${2n ** 63n}`))
    expect(exact.shards[0]).toMatchObject({ leaderSeqno: 2n ** 63n })
  })

  it.each([
    ['active', { cluster: { leader: 'nats_2', replicas: [{ name: 'a', active: 'long' }] } }],
    ['replicas', { cluster: { leader: 'nats_2', replicas: 7 } }],
    ['leader', { cluster: { leader: 7, replicas: [] } }],
    ['created', { created: '' }],
    ['state', { state: 'none' }],
    ['num_pending', { consumer_detail: [{ name: 'a', num_ack_pending: 1 }] }],
  ])('is named if it is invalid: %s', async (field, fields) => {
    const reading = read(({ stream }) => Object.assign(stream('nats_2'), fields))
    await expect(reading).rejects.toThrow(`http://nats_2/jsz: field ${field}`)
  })

  it('can be missing: a server without JetStream has no streams', async () => {
    const { server_id } = ANSWERS.nats_2.varz
    const reading = read(({ answers }) => {
      Object.assign(answers['nats_2'] ?? {}, { jsz: { server_id, disabled: true } })
    })
    expect(await reading).toEqual({ shards: [], note: 'JetStream has none of the streams' })
  })
})

it('any answers make a valid reading or one clear error', async () => {
  const server = (answer: { jsz: unknown; varz: unknown }) =>
    fc.record({ jsz: mutated(answer.jsz), varz: fc.constant(answer.varz) })
  const answers = fc.record({
    nats_1: server(ANSWERS.nats_1),
    nats_2: server(ANSWERS.nats_2),
    nats_3: server(ANSWERS.nats_3),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(answers, { maxLength: 4 }), async (reads) => {
      const fake = createFake({ consumers: true })
      for (const each of reads) {
        Object.assign(fake.answers, each)
        validate(
          await fake.read().catch((error: unknown) => error),
          /field \w+ (is missing|has an invalid value)|JetStream (has|can)|different servers/,
        )
      }
    }),
    { numRuns: 150 },
  )
})

describe('an option', () => {
  const servers = ['http://nats_1:8222']
  const create = (options: unknown) => jetstreamSource(options as JetStreamSourceOptions)

  it.each<[unknown, RegExp]>([
    [null, /^options: expected an object, got null/],
    [{}, /^servers: expected an array of distinct http .*, got undefined/],
    [{ servers, streams: 'ORDERS' }, /^streams: expected an array of names, got "ORDERS"/],
    [{ servers, streams: [''] }, /^streams: expected an array of names, got an array/],
    [{ servers, streams: null }, /^streams: expected an array of names, got null/],
    [{ servers, consumers: 'yes' }, /^consumers: expected a boolean, got "yes"/],
    [{ servers, fetch: 1 }, /^fetch: expected a function, got 1/],
    [{ servers, name: '' }, /^name: expected .*, got ""/],
    [{ servers, filter: 'x' }, /^filter: expected a function, got "x"/],
  ])('that is invalid is refused by its name: %#', (options, message) => {
    expect(() => create(options)).toThrow(TypeError)
    expect(() => create(options)).toThrow(message)
  })

  it('that does not exist is logged', () => {
    const log = recordDiag()
    onTestFinished(() => log.stop())
    expect(create({ servers, shard: 'a' }).name).toBe('jetstream:nats_1:8222')
    expect(create({ servers, name: 'mine' }).name).toBe('mine')
    expect(log.messages).toEqual([
      expect.stringMatching(/^warn: .*jetstreamSource: there is no option "shard"; it is ignored/),
    ])
  })
})
