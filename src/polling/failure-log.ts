import { describeError, formatValue, log } from '../support/log.js'

const MINUTE = 60_000
const HOUR = 60 * MINUTE

/** How many kinds of failure are remembered until the source can be read again. */
const MAX_KINDS = 100

/**
 * Logs the failures of one source: each kind immediately, again after a minute if it lasts, then hourly, and the recovery once.
 * A logger that is set two seconds after the start still gets the message, and the log is not flooded.
 */
export class FailureLog {
  /** When each kind may be logged next. */
  private readonly next = new Map<string, number>()

  constructor(private readonly source: string) {}

  /** @param now in milliseconds, as `performance.now()`. */
  failed(error: unknown, now: number): void {
    const kind = kindOf(error)
    const due = this.next.get(kind)
    if (due === undefined ? this.next.size >= MAX_KINDS : now < due) return
    this.next.set(kind, now + (due === undefined ? MINUTE : HOUR))
    const still = due === undefined ? '' : 'still '
    log(
      'error',
      `source ${formatValue(this.source)} ${still}cannot be read: ${describeError(error)}`,
    )
  }

  succeeded(): void {
    if (this.next.size > 0) log('info', `source ${formatValue(this.source)} can be read again`)
    this.next.clear()
  }
}

/**
 * Identifies a kind of failure: its code, or its name and message without variable parts, such
 * as numbers, addresses and quoted names.
 */
function kindOf(error: unknown): string {
  try {
    const { code, name, message } = error as Partial<Record<string, unknown>>
    if (typeof code === 'string' || typeof code === 'number') return `${code}`
    return `${String(name)} ${String(message)}`
      .replace(/"[^"]*"|'[^']*'/g, '""')
      .replace(/[\w.:-]*\d[\w.:-]*/g, '0')
  } catch {
    return 'unreadable'
  }
}
