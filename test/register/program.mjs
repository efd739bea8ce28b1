// A program that prints what is reported, as JSON, until it gets SIGUSR2. Then it has nothing more to do.
import { metrics } from '@opentelemetry/api'
import {
  AggregationTemporality,
  ConsoleMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics'

const exporter = new ConsoleMetricExporter({
  temporalitySelector: () => AggregationTemporality.DELTA,
})
exporter.export = ({ scopeMetrics }, done) => {
  const all = scopeMetrics.flatMap((scope) => scope.metrics)
  for (const { descriptor, dataPoints } of all) {
    const points = dataPoints.map(({ attributes, value }) => ({ ...attributes, value }))
    console.log(JSON.stringify({ name: descriptor.name, points }))
  }
  done({ code: 0 })
}
const reader = new PeriodicExportingMetricReader({
  exporter,
  exportIntervalMillis: 200,
  exportTimeoutMillis: 200,
})
const provider = new MeterProvider({ readers: [reader] })
metrics.setGlobalMeterProvider(provider)

const work = setInterval(() => undefined, 1000)
process.once('SIGUSR2', () => clearInterval(work))
