import { createNoopMeter, diag, DiagConsoleLogger, DiagLogLevel, metrics } from '@opentelemetry/api'
import { isMainThread } from 'node:worker_threads'
import { ReplicationLagInstrumentation } from '../otel/instrumentation.js'
import { SCOPE } from '../otel/metrics.js'
import { log } from '../support/log.js'
import { unref } from '../support/timers.js'
import { readConfiguration } from './configuration.js'
import { createSource } from './sources.js'

// Reports without a line of code what REPLICATION_LAG_SOURCES or REPLICATION_LAG_CONFIG names:
// node --import opentelemetry-instrumentation-replication-lag/register app.mjs

const CHECK_MILLIS = 100
const CHECKS_BEFORE_WARNING = 100

/** What `register` has started. */
interface Registration {
  /** It is `undefined` if neither variable is set, or the configuration is invalid. */
  readonly instrumentation: ReplicationLagInstrumentation | undefined
  /**
   * What is wrong with the configuration. It is `undefined` if nothing is. The process runs on without reporting; a program
   * that exists to report should end.
   */
  readonly configurationError: string | undefined
}

export const { instrumentation, configurationError }: Registration = register()

/** Never throws. */
function register(): Registration {
  try {
    const configuration = readConfiguration(process.env)
    if (!configuration) {
      log('debug', 'neither REPLICATION_LAG_SOURCES nor REPLICATION_LAG_CONFIG is set')
      return { instrumentation: undefined, configurationError: undefined }
    }
    const instrumentation = new ReplicationLagInstrumentation({
      ...configuration.options,
      sources: configuration.sources.map(createSource),
      enabled: false,
    })
    enableWithProvider(instrumentation)
    return { instrumentation, configurationError: undefined }
  } catch (error) {
    const { message } = error as Error
    logByDefault()
    log('error', message)
    return { instrumentation: undefined, configurationError: message }
  }
}

/** Polling starts once an SDK has set a meter provider, because a client that is loaded earlier is not instrumented. */
function enableWithProvider(instrumentation: ReplicationLagInstrumentation): void {
  let checks = 0
  const timer = setInterval(() => {
    if (instrumentation.getConfig().enabled) {
      // The program reports by itself, as the sidecar does.
      clearInterval(timer)
    } else if (metrics.getMeterProvider().getMeter(SCOPE.name) !== createNoopMeter()) {
      clearInterval(timer)
      logByDefault()
      instrumentation.enable()
    } else if (++checks === CHECKS_BEFORE_WARNING && isMainThread) {
      logByDefault()
      log('warn', 'nothing is reported: no OpenTelemetry SDK has set a global meter provider')
    }
  }, CHECK_MILLIS)
  unref(timer)
}

/** Without a logger, nobody would learn why there is no series. A logger of the application stays. */
function logByDefault(): void {
  const api = (globalThis as Record<symbol, { diag?: unknown } | undefined>)[
    Symbol.for('opentelemetry.js.api.1')
  ]
  if (!api?.diag) diag.setLogger(new DiagConsoleLogger(), DiagLogLevel.WARN)
}
