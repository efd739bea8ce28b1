import { diag, DiagConsoleLogger, DiagLogLevel, metrics } from '@opentelemetry/api'
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import { MeterProvider } from '@opentelemetry/sdk-metrics'
import { ReplicationLagMetricProducer } from 'opentelemetry-instrumentation-replication-lag'
import { readEnvironment } from 'opentelemetry-instrumentation-replication-lag/environment'

// A service that reports with a producer. Started with `--import …/register`, it reports with ObservableGauges too.

const [file, ...ports] = process.argv.slice(2)
const [first, second] = ports.map((port) => ({ host: '127.0.0.1', port: Number(port) }))
// All levels go to its standard error.
for (const level of /** @type {const} */ (['info', 'warn'])) console[level] = console.error
diag.setLogger(new DiagConsoleLogger(), DiagLogLevel.INFO)

const producer = new ReplicationLagMetricProducer(readEnvironment({ REPLICATION_LAG_CONFIG: file }))
const exporter = new PrometheusExporter({ ...first, metricProducers: [producer] })
new MeterProvider({ readers: [exporter] })
const readers = [new PrometheusExporter(second)]
metrics.setGlobalMeterProvider(new MeterProvider({ readers }))
