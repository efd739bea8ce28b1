// A program that prints what is reported, as JSON, until it gets SIGUSR2. Then it has nothing more to do.
import { metrics } from '@opentelemetry/api'
import { AggregationTemporality, MeterProvider, MetricReader } from '@opentelemetry/sdk-metrics'

class Reader extends MetricReader {
  /** @override */
  onShutdown() {
    return Promise.resolve()
  }
  /** @override */
  onForceFlush() {
    return Promise.resolve()
  }
}

// A cumulative reader would keep what is no longer reported.
const aggregationTemporalitySelector = () => AggregationTemporality.DELTA
const reader = new Reader({ aggregationTemporalitySelector })
metrics.setGlobalMeterProvider(new MeterProvider({ readers: [reader] }))

setInterval(() => void print(), 200).unref()

async function print() {
  const { resourceMetrics } = await reader.collect()
  for (const { descriptor, dataPoints } of resourceMetrics.scopeMetrics.flatMap(
    (scope) => scope.metrics,
  )) {
    const points = dataPoints.map(({ attributes, value }) => ({ ...attributes, value }))
    console.log(JSON.stringify({ name: descriptor.name, points }))
  }
}

const work = setInterval(() => undefined, 1000)
process.once('SIGUSR2', () => clearInterval(work))
