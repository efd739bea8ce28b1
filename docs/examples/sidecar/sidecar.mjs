import { setTimeout as sleep } from 'node:timers/promises'
import { diag, DiagConsoleLogger, DiagLogLevel } from '@opentelemetry/api'
import { ReplicationLagMetricProducer } from 'opentelemetry-instrumentation-replication-lag'
import { readEnvironment } from 'opentelemetry-instrumentation-replication-lag/environment'
import { readStates, serveHealth } from './health.mjs'
import { startReporting } from './reporting.mjs'

// Reports what REPLICATION_LAG_SOURCES or REPLICATION_LAG_CONFIG names, from a process of its own.

const level = process.env['OTEL_LOG_LEVEL']?.toUpperCase() ?? 'INFO'
diag.setLogger(new DiagConsoleLogger(), {
  logLevel: DiagLogLevel[/** @type {keyof typeof DiagLogLevel} */ (level)],
})

try {
  const options = readEnvironment()
  if (!options) {
    throw new Error(
      'nothing to poll: set REPLICATION_LAG_SOURCES, as in orders=postgres://monitor@db/postgres, or REPLICATION_LAG_CONFIG',
    )
  }
  await start(options)
} catch (error) {
  console.error(/** @type {Error} */ (error).message)
  process.exit(1)
}

/** @param {import('opentelemetry-instrumentation-replication-lag').ReplicationLagOptions} options */
async function start(options) {
  const { sources = [] } = options
  const producer = new ReplicationLagMetricProducer(options)
  const stopReporting = await startReporting(producer)
  for (const signal of ['SIGINT', 'SIGTERM']) {
    process.once(signal, () => {
      // The last export needs what was read, so polling ends after it.
      void stopReporting().finally(() => process.exit(0))
    })
  }
  await serveHealth(producer)
  if (!(await canReadAny(producer, sources.length))) process.exit(1)
  console.log(`Polling ${sources.map(({ name }) => name).join(', ')}`)
}

/**
 * Waits until one source was read, or all have failed. The log says why.
 *
 * @param {ReplicationLagMetricProducer} producer
 * @param {number} count of sources
 */
async function canReadAny(producer, count) {
  for (;;) {
    const states = Object.values(await readStates(producer))
    if (states.includes('up')) return true
    if (states.length === count) return false
    await sleep(50)
  }
}
