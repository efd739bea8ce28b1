import { createNoopMeter, metrics, type MeterProvider } from '@opentelemetry/api'
import cluster from 'node:cluster'
import { basename } from 'node:path'
import { isMainThread } from 'node:worker_threads'
import { readEnvironment } from '../environment/index.js'
import { ReplicationLagInstrumentation } from '../otel/instrumentation.js'
import { SCOPE } from '../otel/metrics.js'
import { isSdkDisabled } from '../otel/options.js'
import { log, printWithoutLogger } from '../support/log.js'
import { unref } from '../support/timers.js'
import { forgetRemovedSeries, reportPortInUse, shutDown } from './readers.js'

// Reports without a line of code what REPLICATION_LAG_SOURCES or REPLICATION_LAG_CONFIG names:
// node --import opentelemetry-instrumentation-replication-lag/register app.mjs

const CHECK_MILLIS = 100
const CHECKS_BEFORE_WARNING = 100

const program = basename(process.argv[1] ?? '')
const isPackageManager = /^(?:npm|npx|pnpm|pnpx|yarn|corepack)(?:-cli)?(?:\.[cm]?js)?$/.test(
  program,
)

/** A variable with the id of the process that reports. The workers of its cluster inherit it. */
const REPORTER = 'REPLICATION_LAG_REPORTER'

/** What reports. It is `undefined` if nothing is configured, if the configuration is invalid, and where nothing is reported. */
export const instrumentation: ReplicationLagInstrumentation | undefined = register()

/** Never throws. */
function register(): ReplicationLagInstrumentation | undefined {
  // Without a logger, there would be no sign of why there is no series.
  printWithoutLogger()
  try {
    const reason = findReasonToDoNothing()
    if (reason !== undefined) {
      log('debug', reason)
      freePort()
      return undefined
    }
    const options = readEnvironment()
    if (!options) {
      log('debug', 'neither REPLICATION_LAG_SOURCES nor REPLICATION_LAG_CONFIG is set')
      return undefined
    }
    const created = new ReplicationLagInstrumentation({ ...options, enabled: false })
    if (isSdkDisabled()) log('info', 'OTEL_SDK_DISABLED is set, so sources are not polled')
    else enableWithProvider(created)
    return created
  } catch (error) {
    log('error', (error as Error).message)
    return undefined
  }
}

/** `NODE_OPTIONS` applies to each Node.js process that a service starts, and each thread of it. One of them polls. */
function findReasonToDoNothing(): string | undefined {
  if (!isMainThread) return 'the main thread reports, not this one'
  if (cluster.isWorker && process.env[REPORTER] === String(process.ppid)) {
    return 'the primary process of the cluster reports, not this one'
  }
  return isPackageManager ? `${program} has nothing to report` : undefined
}

/**
 * `NODE_OPTIONS` starts an SDK in a package manager too, which would keep the port of `/metrics` from the service. Shuts that
 * SDK down, now or after the imports.
 */
function freePort(): void {
  if (!isPackageManager) return
  if (!shutDown(metrics.getMeterProvider())) {
    unref(setTimeout(() => shutDown(metrics.getMeterProvider()), CHECK_MILLIS))
  }
}

/**
 * Starts polling once an SDK has set a meter provider, because a client that is loaded earlier is not instrumented. Prepares
 * the readers of that SDK, and of those that follow it.
 */
function enableWithProvider(created: ReplicationLagInstrumentation): void {
  let checks = 0
  let current: MeterProvider | undefined
  const check = () => {
    const provider = metrics.getMeterProvider()
    if (current && !created.getConfig().enabled) clearInterval(timer)
    else if (provider === current) return
    else if (provider.getMeter(SCOPE.name) !== createNoopMeter()) {
      reportPortInUse(provider)
      forgetRemovedSeries(provider)
      if (!current) created.enable()
      current = provider
      process.env[REPORTER] = String(process.pid)
    } else if (!current && ++checks === CHECKS_BEFORE_WARNING) {
      log('warn', 'nothing is reported: no OpenTelemetry SDK has set a global meter provider')
    }
  }
  const timer = setInterval(check, CHECK_MILLIS)
  unref(timer)
  // An SDK that was imported before this module has set one. A service may start the workers of its cluster at once.
  check()
}
