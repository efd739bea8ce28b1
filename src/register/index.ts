import { createNoopMeter, diag, DiagConsoleLogger, DiagLogLevel, metrics } from '@opentelemetry/api'
import { isMainThread } from 'node:worker_threads'
import { readEnvironment } from '../environment/index.js'
import { ReplicationLagInstrumentation } from '../otel/instrumentation.js'
import { SCOPE } from '../otel/metrics.js'
import { hasLogger, log } from '../support/log.js'
import { unref } from '../support/timers.js'

// Reports without a line of code what REPLICATION_LAG_SOURCES or REPLICATION_LAG_CONFIG names:
// node --import opentelemetry-instrumentation-replication-lag/register app.mjs

const CHECK_MILLIS = 100
const CHECKS_BEFORE_WARNING = 100

/** What reports. It is `undefined` if neither variable is set, or the configuration is invalid. */
export const instrumentation: ReplicationLagInstrumentation | undefined = register()

/** Never throws. */
function register(): ReplicationLagInstrumentation | undefined {
  try {
    const options = readEnvironment()
    if (!options) {
      log('debug', 'neither REPLICATION_LAG_SOURCES nor REPLICATION_LAG_CONFIG is set')
      return undefined
    }
    const created = new ReplicationLagInstrumentation({ ...options, enabled: false })
    enableWithProvider(created)
    return created
  } catch (error) {
    logByDefault()
    log('error', (error as Error).message)
    return undefined
  }
}

/** Polling starts once an SDK has set a meter provider, because a client that is loaded earlier is not instrumented. */
function enableWithProvider(created: ReplicationLagInstrumentation): void {
  let checks = 0
  const timer = setInterval(() => {
    if (metrics.getMeterProvider().getMeter(SCOPE.name) !== createNoopMeter()) {
      clearInterval(timer)
      logByDefault()
      created.enable()
    } else if (++checks === CHECKS_BEFORE_WARNING && isMainThread) {
      logByDefault()
      log('warn', 'nothing is reported: no OpenTelemetry SDK has set a global meter provider')
    }
  }, CHECK_MILLIS)
  unref(timer)
}

/** Without a logger, there would be no sign of why there is no series. A logger of the application stays. */
function logByDefault(): void {
  if (!hasLogger()) diag.setLogger(new DiagConsoleLogger(), DiagLogLevel.WARN)
}
