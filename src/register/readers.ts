import type { MeterProvider } from '@opentelemetry/api'
import { log } from '../support/log.js'
import { hasMethods } from '../support/option-errors.js'

// The SDK creates the readers here, and its API does not give access to them. If a release keeps them elsewhere, nothing
// changes.

/** The parts of a reader of the SDK that are needed here. */
interface Reader {
  /** Public: which temporality a reader wants for a type of instruments. */
  selectAggregationTemporality(type: string): number
  /** Only of a PrometheusExporter. Public: returns the promise of the first call. */
  startServer?(): Promise<void>
  /** Set by the first call of `startServer`. */
  readonly _startServerPromise?: unknown
}

function findReaders(provider: MeterProvider): Reader[] {
  const { _sharedState: state } = provider as { _sharedState?: { metricCollectors?: unknown } }
  const collectors: unknown = state?.metricCollectors
  if (!Array.isArray(collectors)) return []
  const readers = collectors.map(
    (collector) => (collector as { _metricReader?: Reader } | null)?._metricReader,
  )
  return readers.filter((reader) => hasMethods(reader, 'selectAggregationTemporality')) as Reader[]
}

/** The SDK's values of InstrumentType.OBSERVABLE_GAUGE and AggregationTemporality.DELTA. */
const OBSERVABLE_GAUGE = 'OBSERVABLE_GAUGE'
const DELTA = 0

/**
 * Lets the readers of a provider forget the series of ObservableGauges that are no longer observed, as the specification
 * says. A cumulative reader of the SDK keeps them forever. A gauge is exported without a temporality, so nothing else changes.
 */
export function forgetRemovedSeries(provider: MeterProvider): void {
  if (process.env['REPLICATION_LAG_KEEP_SERIES']?.trim().toLowerCase() === 'true') return
  const readers = findReaders(provider)
  if (readers.length === 0)
    log('debug', 'series of removed followers remain: the readers of this SDK are unknown')
  for (const reader of readers) {
    const select = reader.selectAggregationTemporality.bind(reader)
    reader.selectAggregationTemporality = (type) =>
      type === OBSERVABLE_GAUGE ? DELTA : select(type)
  }
}

/** Logs that a PrometheusExporter cannot listen. Without a logger, the SDK says nothing about it. */
export function reportPortInUse(provider: MeterProvider): void {
  for (const reader of findReaders(provider)) {
    // Do not start a server that the service does not want.
    if (reader._startServerPromise === undefined) continue
    reader.startServer?.().catch((error: unknown) => {
      const { message } = error as Error
      log(
        'error',
        `there is no /metrics: ${message}. Set OTEL_EXPORTER_PROMETHEUS_PORT to another port`,
      )
    })
  }
}

/** Shuts down a provider. Returns whether it could: one that is no SDK's cannot be. */
export function shutDown(provider: MeterProvider): boolean {
  const { shutdown } = provider as { shutdown?: () => Promise<void> }
  shutdown?.call(provider).catch(() => undefined)
  return shutdown !== undefined
}
