import { context, metrics, propagation, trace } from '@opentelemetry/api'
import { NodeSDK } from '@opentelemetry/sdk-node'
import { ReplicationLagMetricProducer } from 'opentelemetry-instrumentation-replication-lag'
import { afterEach, expect, onTestFinished, test } from 'vitest'
import { eventually } from '../support/eventually.js'
import { TestReader } from '../support/test-reader.js'

afterEach(() => {
  for (const api of [context, metrics, propagation, trace]) api.disable()
})

/** Starts an SDK, and returns the names of the spans that end from then on. */
function startSdk(): string[] {
  const spans: string[] = []
  const sdk = new NodeSDK({
    metricReaders: [new TestReader()],
    autoDetectResources: false,
    spanProcessors: [
      {
        onStart: () => undefined,
        onEnd: ({ name }) => spans.push(name),
        forceFlush: () => Promise.resolve(),
        shutdown: () => Promise.resolve(),
      },
    ],
    logRecordProcessors: [],
  })
  sdk.start()
  onTestFinished(() => sdk.shutdown())
  return spans
}

/** A source whose client is instrumented: it makes a span of each of its two questions. */
const source = {
  name: 'traced',
  reads: 0,
  async read() {
    for (const question of ['connects', 'queries']) {
      await trace.getTracer('client').startActiveSpan(question, async (span) => {
        await new Promise((resolve) => setTimeout(resolve, 5))
        span.end()
      })
    }
    this.reads++
    return { shards: [] }
  },
}

test('polls make no spans even if the SDK starts after them', async () => {
  const producer = new ReplicationLagMetricProducer({ sources: [source], pollIntervalMillis: 10 })
  onTestFinished(() => producer.shutdown())
  const spans = startSdk()
  await eventually(() => expect(source.reads).toBeGreaterThan(2))
  expect(spans).toEqual([])
  // The client would make them otherwise.
  await source.read()
  expect(spans).toEqual(['connects', 'queries'])
})
