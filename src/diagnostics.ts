import { diag } from '@opentelemetry/api'

const logger = diag.createComponentLogger({
  namespace: 'opentelemetry-instrumentation-replication-lag',
})

/**
 * Says something through OpenTelemetry's `diag`. Never throws, whatever logger the application has set:
 * it is called on the update and collection paths.
 */
export function tell(level: 'debug' | 'info' | 'warn' | 'error', message: string): void {
  try {
    logger[level](message)
  } catch {
    // A logger that throws must not stop replication; there is nobody left to tell.
  }
}
