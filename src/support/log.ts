import { diag } from '@opentelemetry/api'
import { unref } from './timers.js'

const NAMESPACE = 'opentelemetry-instrumentation-replication-lag'
const logger = diag.createComponentLogger({ namespace: NAMESPACE })

type Level = 'debug' | 'info' | 'warn' | 'error'

let isPrinting = false

/** Prints to stderr what is logged while no logger is set, except at debug level. A logger of the application stays alone. */
export function printWithoutLogger(): void {
  isPrinting = true
}

/** Logs through OpenTelemetry's `diag`. Never throws, even if the logger does, because updates and collections call it. */
export function log(level: Level, message: string): void {
  try {
    if (!isPrinting || hasLogger()) logger[level](message)
    else if (level !== 'debug') console.error(`${NAMESPACE}: ${message}`)
  } catch {
    // A logger that throws must not stop replication.
  }
}

/** Whether a logger is set. The API cannot say so, but every copy of API 1 keeps the logger in the same place. */
function hasLogger(): boolean {
  const api = (globalThis as Record<symbol, { diag?: unknown } | undefined>)[
    Symbol.for('opentelemetry.js.api.1')
  ]
  return api?.diag !== undefined
}

/**
 * Logs a message now, or once a logger is set. Services often set it after they have created what is wrong, because the SDK
 * does it for them.
 */
export function logOnceHeard(level: Level, message: string): void {
  if (isPrinting || hasLogger()) {
    log(level, message)
    return
  }
  const timer = setInterval(() => {
    if (!hasLogger()) return
    clearInterval(timer)
    log(level, message)
  }, 1000)
  unref(timer)
}

/** How many subjects a {@link OncePerSubject} remembers. It stays silent about further ones, so that memory is bounded. */
const MAX_SUBJECTS = 1000

/** Logs a warning about each subject once. */
export class OncePerSubject {
  private readonly logged = new Set<string>()

  /** @param message is called only if the warning is logged. */
  warn(subject: string, message: () => string): void {
    if (this.logged.size >= MAX_SUBJECTS || this.logged.has(subject)) return
    this.logged.add(subject)
    log('warn', message())
  }
}

/** Returns a short form of any value on one line, for messages. Never throws. */
export function formatValue(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return value.length > 64
        ? `a string of ${value.length} characters that starts with ${JSON.stringify(value.slice(0, 64))}`
        : JSON.stringify(value)
    case 'bigint':
      // Formatting a huge bigint takes quadratic time.
      return BigInt.asIntN(128, value) === value ? `${value}n` : 'a bigint of more than 128 bits'
    case 'number':
    case 'boolean':
    case 'undefined':
      return String(value)
    case 'object':
      try {
        return value === null ? 'null' : Array.isArray(value) ? 'an array' : 'an object'
      } catch {
        return 'a revoked proxy'
      }
    default:
      return `a ${typeof value}`
  }
}

/** How deep {@link describeError} follows causes and inner errors, and how many inner errors it lists. */
const MAX_ERRORS = 4

/**
 * Returns the code, the message, the cause and the inner errors of anything that was thrown, on one line. Never throws.
 * It looks at the structure, because an error from another realm (as in Jest) is not an `instanceof Error` here.
 */
export function describeError(error: unknown, depth = 0): string {
  try {
    if (typeof error !== 'object' || error === null) return formatValue(error)
    const { name, message, code, cause, errors } = error as Partial<Record<string, unknown>>
    const text = typeof message === 'string' && message !== '' ? message : name
    const parts = [typeof text === 'string' ? text.replace(/\s*\n\s*/g, ' ') : formatValue(error)]
    if (typeof code === 'string' && !parts[0]?.includes(code)) parts.unshift(code)
    if (depth === MAX_ERRORS) return parts.join(': ')
    const inner = Array.isArray(errors) ? errors.slice(0, MAX_ERRORS) : []
    if (inner.length > 0) {
      parts.push(`[${inner.map((each) => describeError(each, depth + 1)).join('; ')}]`)
    }
    const description = parts.join(': ')
    return cause === undefined ? description : `${description} (${describeError(cause, depth + 1)})`
  } catch {
    return 'an error that cannot be read'
  }
}
