import { once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { Admin } from '@platformatic/kafka'
import { kafkaSource } from 'opentelemetry-instrumentation-replication-lag/sources/kafka'
import { expect, it, onTestFinished } from 'vitest'
import { eventually } from '../../support/eventually.js'

it('that are reset while they authenticate do not end the process, with @platformatic/kafka', async () => {
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
