import {
  checkBoolean,
  checkMillis,
  checkObject,
  checkTimer,
  hasMethods,
  optionError,
  refuseUnknown,
} from './option-errors.js'
import { ReplicationLagGauge } from './replication-lag-gauge.js'
import { resolveReport, type ReportOptions } from './report-options.js'
import type { ReplicationSource } from './sources/source.js'

/** Options of {@link ReplicationLagInstrumentation}. All may be left out. */
export interface ReplicationLagInstrumentationConfig extends ReportOptions {
  /** Whether to start at construction. `registerInstrumentations` and NodeSDK enable it in any case. Default: true. */
  readonly enabled?: boolean
  /** The lag map to report from. Default: an empty one of its own, `instrumentation.gauge`. */
  readonly gauge?: ReplicationLagGauge
  /** What to poll for positions; what is read goes into the gauge. Each needs a name of its own. Default: none. */
  readonly sources?: readonly ReplicationSource[]
  /** From the start of one read of a source to the next, in milliseconds, 1 … 2^31 − 1. Default: 5000. */
  readonly pollIntervalMillis?: number
  /** How long a read may take before it is aborted and counts as failed, in milliseconds, 1 … 2^31 − 1. Default: 5000. */
  readonly pollTimeoutMillis?: number
  /**
   * How long a follower that a source no longer reports is still measured, from its last known position, in milliseconds,
   * 0 … Infinity. Default: 3600000 (one hour).
   */
  readonly retentionMillis?: number
  /**
   * Whether to report through ObservableGauges. Say false where a {@link ReplicationLagMetricProducer} reports the gauge
   * and this only polls the sources. Default: true.
   */
  readonly observableGauges?: boolean
}

/** The same with the defaults filled in. */
export type ResolvedConfig = Required<ReplicationLagInstrumentationConfig>

/** @throws TypeError that names the option and what was expected. */
export function resolveConfig(config: ReplicationLagInstrumentationConfig): ResolvedConfig {
  checkObject('config', config)
  const {
    enabled = true,
    gauge = new ReplicationLagGauge(),
    sources = [],
    pollIntervalMillis = 5000,
    pollTimeoutMillis = 5000,
    retentionMillis = 3_600_000,
    lagSeconds,
    sampleIntervalMillis,
    positions,
    observableGauges = true,
    ...unknown
  } = config
  refuseUnknown(unknown)
  checkBoolean('enabled', enabled)
  const report = resolveReport({ lagSeconds, sampleIntervalMillis, positions })
  checkBoolean('observableGauges', observableGauges)
  checkGauge(gauge)
  checkSources(sources)
  checkTimer('pollIntervalMillis', pollIntervalMillis)
  checkTimer('pollTimeoutMillis', pollTimeoutMillis)
  checkMillis('retentionMillis', retentionMillis, 0, Infinity)
  return {
    enabled,
    gauge,
    sources: [...sources],
    pollIntervalMillis,
    pollTimeoutMillis,
    retentionMillis,
    ...report,
    observableGauges,
  }
}

/** @throws TypeError if it is no ReplicationLagGauge. */
export function checkGauge(gauge: unknown): void {
  if (!hasMethods(gauge, 'forEachFollower', 'forEachLag', 'collectMetrics', 'sample')) {
    throw optionError('gauge', 'a ReplicationLagGauge', gauge)
  }
}

function checkSources(sources: readonly ReplicationSource[]): void {
  if (!Array.isArray(sources)) throw optionError('sources', 'an array of sources', sources)
  const names = new Set<string>()
  for (const [index, source] of (sources as readonly ReplicationSource[]).entries()) {
    const option = `sources[${index}]`
    if (!hasMethods(source, 'read'))
      throw optionError(option, 'a source with a method read(signal)', source)
    const { name } = source
    if (typeof name !== 'string' || name === '')
      throw optionError(`${option}.name`, 'a non-empty string', name)
    if (names.has(name))
      throw optionError(`${option}.name`, 'a name that no other source has', name)
    names.add(name)
  }
}
