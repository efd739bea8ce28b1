import { context, metrics, propagation, trace } from '@opentelemetry/api'
import { NodeSDK } from '@opentelemetry/sdk-node'
import {
  ReplicationLagInstrumentation,
  ReplicationLagMetricProducer,
  type ReplicationLagOptions,
  type ReplicationSource,
} from 'opentelemetry-instrumentation-replication-lag'
import { afterEach, expect, onTestFinished, test } from 'vitest'
import { eventually } from '../support/eventually.js'
import { TestReader } from '../support/test-reader.js'

// The order in which a service starts its parts must not matter.

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
class TracedSource implements ReplicationSource {
  reads = 0

  constructor(readonly name: string) {}

  async read() {
    await this.ask('connects')
    await this.ask('queries')
    this.reads++
    return { shards: [] }
  }

  private ask(what: string): Promise<void> {
    return trace.getTracer('client').startActiveSpan(`${this.name} ${what}`, async (span) => {
      await new Promise((resolve) => setTimeout(resolve, 5))
      span.end()
    })
  }
}

const attachments = [
  {
    name: 'ReplicationLagMetricProducer',
    create: (options: ReplicationLagOptions) => {
      const producer = new ReplicationLagMetricProducer(options)
      onTestFinished(() => producer.shutdown())
    },
  },
  {
    name: 'ReplicationLagInstrumentation',
    create: (options: ReplicationLagOptions) => {
      const instrumentation = new ReplicationLagInstrumentation(options)
      onTestFinished(() => instrumentation.disable())
    },
  },
]

test.each(attachments)(
  'polls make no spans if the SDK starts after $name',
  async ({ name, create }) => {
    const source = new TracedSource(name)
    create({ sources: [source], pollIntervalMillis: 10 })
    const spans = startSdk()
    await eventually(() => expect(source.reads).toBeGreaterThan(2))
    // The last read of the test before can end during this one.
    const own = () => spans.filter((span) => span.startsWith(name))
    expect(own()).toEqual([])
    // The client would make them otherwise.
    await source.read()
    expect(own()).toEqual([`${name} connects`, `${name} queries`])
  },
)
