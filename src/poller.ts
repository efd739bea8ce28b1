import { tell } from './diagnostics.js'
import { errorMessage, show } from './show.js'
import type { ReplicationReading, ReplicationSource } from './sources/source.js'

export interface PollerOptions {
  /** From the start of one read to the start of the next, in milliseconds. */
  readonly intervalMillis: number
  /** How long a read may take before it counts as failed and is aborted, in milliseconds. */
  readonly timeoutMillis: number
}

/** Told of every read that was due. */
export interface PollListener {
  /** Takes what a read found; if it throws, the read counts as failed. */
  onReading(reading: ReplicationReading): void
  /** A read failed or, past its deadline, is still under way when the next one is due. */
  onMiss(): void
}

/**
 * Reads a source again and again on a timer of its own, which does not keep the process alive.
 *
 * One read is in flight at a time, also while it hangs past its deadline and over a stop and start: a slow system never
 * gets a second question before it answered or gave up on the first. Failures are told through `diag` once per change of
 * state, not once per poll.
 */
export class SourcePoller {
  readonly #source: ReplicationSource
  readonly #listener: PollListener
  readonly #options: PollerOptions
  #running = false
  #inFlight: AbortController | undefined
  #timer: NodeJS.Timeout | undefined
  #deadline: NodeJS.Timeout | undefined
  #missTimer: NodeJS.Timeout | undefined
  /** What was told last: '' while the source answers, else which kind of failure it is in. */
  #failure = ''
  #note: string | undefined

  constructor(source: ReplicationSource, listener: PollListener, options: PollerOptions) {
    this.#source = source
    this.#listener = listener
    this.#options = options
  }

  /** Starts polling, with the first read at once. */
  start(): void {
    if (this.#running) return
    this.#running = true
    if (!this.#inFlight) void this.#poll()
    // A read that the last stop aborted goes on to the next one by itself when it settles.
    else this.#countMisses()
  }

  /** Stops polling and aborts the read in flight; what that still brings is dropped. */
  stop(): void {
    this.#running = false
    clearTimeout(this.#timer)
    clearTimeout(this.#deadline)
    clearInterval(this.#missTimer)
    this.#inFlight?.abort(new Error('polling was stopped'))
  }

  async #poll(): Promise<void> {
    const { intervalMillis, timeoutMillis } = this.#options
    const startedAt = performance.now()
    const controller = (this.#inFlight = new AbortController())
    this.#deadline = setTimeout(() => {
      const error = new DeadlineError(`no answer within ${timeoutMillis} ms`)
      controller.abort(error)
      this.#failed(error)
      this.#countMisses()
    }, timeoutMillis).unref()
    try {
      const reading = await this.#source.read(controller.signal)
      if (!controller.signal.aborted) {
        this.#listener.onReading(reading)
        this.#succeeded(reading)
      }
    } catch (error) {
      if (!controller.signal.aborted) this.#failed(error)
    }
    clearTimeout(this.#deadline)
    clearInterval(this.#missTimer)
    this.#inFlight = undefined
    if (!this.#running) return
    const wait = Math.max(0, intervalMillis - (performance.now() - startedAt))
    this.#timer = setTimeout(() => void this.#poll(), wait).unref()
  }

  /** No other read starts before the one in flight settles, but those that would have been due are missed. */
  #countMisses(): void {
    const { intervalMillis } = this.#options
    this.#missTimer = setInterval(() => this.#listener.onMiss(), intervalMillis).unref()
  }

  #succeeded({ note }: ReplicationReading): void {
    if (this.#failure !== '') tell('info', `source ${show(this.#source.name)} answers again`)
    this.#failure = ''
    if (note !== undefined && note !== this.#note) {
      tell('debug', `source ${show(this.#source.name)}: ${note}`)
    }
    this.#note = note
  }

  #failed(error: unknown): void {
    this.#listener.onMiss()
    const failure = failureKind(error)
    if (failure === this.#failure) return
    this.#failure = failure
    tell('error', `source ${show(this.#source.name)} cannot be read: ${errorMessage(error)}`)
  }
}

class DeadlineError extends Error {
  readonly code = 'deadline'
}

/**
 * What tells one failure from another: the error's code, where it has one. Not the message, which may hold a port or a
 * pid that differs each time.
 */
function failureKind(error: unknown): string {
  try {
    const { code, name } = error as { code?: unknown; name?: unknown }
    return `failed: ${String(code ?? name)}`
  } catch {
    return 'failed'
  }
}
