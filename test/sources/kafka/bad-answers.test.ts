import { Admin } from '@platformatic/kafka'
import fc from 'fast-check'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { kafkaSource } from 'opentelemetry-instrumentation-replication-lag/sources/kafka'
import { describe, expect, it, onTestFinished } from 'vitest'
import { eventually } from '../../support/eventually.js'
import { mutated, validate } from '../shared/fakes.js'
import { createKafkajs, createPlatformatic, KAFKAJS, PLATFORMATIC, readOnce } from './answers.js'

const MAX = 2n ** 64n - 1n
const groups = ['billing']

/** Reads through kafkajs, with one row of an answer changed. */
const readKafkajs = (commit: object, log: object) => {
  const partitions = [{ partition: 0, offset: '4', ...commit }]
  const fetchTopicOffsets = [{ partition: 0, low: '2', high: '10', ...log }]
  const fetchOffsets = [{ topic: 'orders', partitions }]
  return readOnce({ admin: createKafkajs({ fetchOffsets, fetchTopicOffsets }).admin, groups })
}

describe('a field of an answer', () => {
  it.each(['', '-2', '+1', ' 1', '1.0', '1e3', 'NaN', `${MAX + 1n}`, -1, 1.5, NaN, -1n, {}, null])(
    'is an unsigned 64-bit integer: not %s',
    async (value) => {
      const problemWith = (name: string) => `cannot be read: field ${name} has an invalid value`
      const reading = readKafkajs({}, { partition: value })
      await expect(reading).rejects.toThrow(`Kafka: orders ${problemWith('partition')}`)
      for (const name of ['low', 'high']) {
        const { shards } = await readKafkajs({}, { [name]: value })
        expect(shards).toEqual([
          {
            shard: 'orders/0',
            followers: [{ replica: 'billing', connected: false }],
            problem: expect.stringContaining(problemWith(name)) as string,
          },
        ])
      }
      // -1 stands for no commit.
      if (Number(value) === -1) return
      const { shards } = await readKafkajs({ offset: value }, {})
      const problem = expect.stringMatching(/^its commit is not an offset/) as string
      expect(shards[0]?.followers).toEqual([{ replica: 'billing', diverged: true, problem }])
    },
  )

  it('is exact over 2^53', async () => {
    const { shards } = await readKafkajs({ offset: `${MAX - 1n}` }, { high: `${MAX}` })
    expect(shards[0]).toMatchObject({ leaderSeqno: MAX, followers: [{ appliedSeqno: MAX - 1n }] })
  })

  it('must be there', async () => {
    const message = 'Kafka: orders cannot be read: field partition is missing'
    await expect(readKafkajs({}, { partition: undefined })).rejects.toThrow(message)
  })

  it('is ignored if it is not known', async () => {
    const { shards } = await readKafkajs({ other: {} }, { other: 1 })
    expect(shards[0]).toMatchObject({ followers: [{ appliedSeqno: 4n }] })
  })
})

const FIELD =
  /^Kafka: (.* cannot be read: )?(field|it does not exist|its coordinator|the brokers have not answered)/s

/** Answers without those that are functions of the question. */
function withoutFunctions<T extends object>(answers: T): T {
  const entries = Object.entries(answers).filter(([, answer]) => typeof answer !== 'function')
  return Object.fromEntries(entries) as T
}

describe('answers that are changed anywhere', () => {
  const odd = [undefined, null, '', '-1', -1, -1n, NaN, MAX, MAX + 1n, [], {}, new Map()]
  const values = fc.oneof(fc.constantFrom<unknown>(...odd), fc.bigInt(), fc.anything())

  async function check(reading: ReturnType<typeof readOnce>): Promise<void> {
    const result = await reading.catch((error: unknown) => error as Error)
    validate(result, FIELD)
    if (result instanceof Error) return
    for (const { leaderSeqno, problem } of result.shards)
      if (leaderSeqno === undefined) expect(problem).toMatch(/cannot be read/)
  }

  it('are read exactly or refused, with kafkajs', async () => {
    await fc.assert(
      fc.asyncProperty(mutated(withoutFunctions(KAFKAJS), values), async (answers) => {
        const { admin } = createKafkajs(answers)
        await check(readOnce({ admin, groups: ['billing', 'idle'], topics: ['orders'] }))
      }),
      { numRuns: 1000 },
    )
  })

  it('are read exactly or refused, with @platformatic/kafka and brokers', async () => {
    await fc.assert(
      fc.asyncProperty(mutated(withoutFunctions(PLATFORMATIC), values), async (answers) => {
        const { admin, listOffsets: brokers } = createPlatformatic(answers)
        await check(readOnce({ admin, groups, brokers }))
      }),
      { numRuns: 1000 },
    )
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
