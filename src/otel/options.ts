import { ReplicationLagGauge } from '../lag-map/replication-lag-gauge.js'
import { startSampling } from '../lag-map/sampling.js'
import { ReplicationPoller, type PollingOptions } from '../polling/replication-poller.js'
import { logOnceHeard } from '../support/log.js'
import { checkBoolean, checkObject, hasMethods } from '../support/option-errors.js'
import type { Report, ReportOptions } from './metrics.js'

/** What both {@link ReplicationLagInstrumentation} and {@link ReplicationLagMetricProducer} take. */
export interface ReplicationLagOptions extends ReportOptions, PollingOptions {
  /**
   * The lag map to report. Sources update it too.
   * @default a new one
   */
  readonly gauge?: ReplicationLagGauge | undefined
}

/** @internal Options that were checked, with the defaults filled in. */
export interface ResolvedOptions {
  readonly gauge: ReplicationLagGauge
  readonly poller: ReplicationPoller
  readonly report: Report
}

/** @internal @throws TypeError that names the option that is invalid and what was expected. */
export function resolveOptions(owner: string, options: ReplicationLagOptions): ResolvedOptions {
  checkOptions(owner, options)
  const { gauge = new ReplicationLagGauge(), lagSeconds, positions, ...polling } = options
  const report = resolveReport({ lagSeconds, positions })
  return { gauge, report, poller: new ReplicationPoller({ ...polling, gauge }) }
}

/** @internal @throws TypeError if it is not an object with options. */
export function checkOptions(owner: string, options: unknown): void {
  if (hasMethods(options, 'updateLeaderSeqno', 'collectMetrics')) {
    throw new TypeError(`${owner}: expected options such as { gauge }, got a ReplicationLagGauge`)
  }
  checkObject('options', options)
}

/** @internal @throws TypeError that names the option that is invalid and what was expected. */
export function resolveReport({ lagSeconds = true, positions = false }: ReportOptions): Report {
  checkBoolean('lagSeconds', lagSeconds)
  checkBoolean('positions', positions)
  return { lagSeconds, positions }
}

/** @internal Starts what the metrics of an attachment need: samples for the lag in seconds, and polling. */
export function start({ gauge, poller, report }: ResolvedOptions): void {
  if (report.lagSeconds) startSampling(gauge.feeds)
  if (isSdkDisabled()) logOnceHeard('info', 'OTEL_SDK_DISABLED is set, so sources are not polled')
  else poller.start()
}

/** @internal Whether the environment turns off OpenTelemetry for the whole process. */
export function isSdkDisabled(): boolean {
  return process.env['OTEL_SDK_DISABLED']?.trim().toLowerCase() === 'true'
}
