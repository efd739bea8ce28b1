import { context, createContextKey } from '@opentelemetry/api'
import type { Feed } from '../lag-map/feed.js'
import type { Feeds } from '../lag-map/feeds.js'
import type { ReplicationReading, ReplicationSource } from '../sources/source.js'
import { formatValue, log } from '../support/log.js'
import { unref } from '../support/timers.js'
import { applyReading, type PollTimes } from './apply-reading.js'
import { FailureLog } from './failure-log.js'

/** The reads in flight. A source object that several loops have, or that one has again, is still read once at a time. */
const inFlight = new WeakMap<ReplicationSource, Promise<void>>()

/**
 * Reads one source at an interval into its feed. One read is in flight at a time, also if it hangs past its deadline or
 * over a stop and start: a slow system never gets a second query before it has answered the first or given it up.
 */
export class PollLoop {
  private readonly failures: FailureLog
  private isRunning = false
  private isPolling = false
  private dueAt = 0
  private read = new AbortController()
  private timer: ReturnType<typeof setTimeout> | undefined
  private note: string | undefined

  constructor(
    private readonly source: ReplicationSource,
    private readonly feeds: Feeds,
    readonly feed: Feed,
    private readonly times: PollTimes,
  ) {
    this.failures = new FailureLog(source.name)
  }

  /** Starts with a read after a delay; if one is still in flight, as soon as that has settled. */
  start(delayMillis: number): void {
    this.isRunning = true
    this.dueAt = 0
    if (this.isPolling) this.startDeadline(this.times.pollTimeoutMillis)
    else if (delayMillis === 0) void this.poll()
    else this.schedule(delayMillis)
  }

  /** Stops, aborts the read in flight and ignores what it still brings. What was read is not reported any more. */
  stop(): void {
    this.isRunning = false
    clearTimeout(this.timer)
    this.read.abort(new Error('polling was stopped'))
    this.feed.freshUntil = -Infinity
    this.feed.isUp = undefined
  }

  private schedule(delayMillis: number): void {
    // A timer also if the next read is due: a source that settles without I/O would block the event loop.
    this.timer = unref(setTimeout(() => void this.poll(), Math.max(0, delayMillis)))
  }

  /** Never rejects. */
  private async poll(): Promise<void> {
    this.dueAt = performance.now() + this.times.pollIntervalMillis
    this.isPolling = true
    this.read = new AbortController()
    this.startDeadline(this.times.pollTimeoutMillis)
    // Another loop may be reading the same object.
    for (let other; (other = inFlight.get(this.source));) await other
    const { signal } = this.read
    if (!signal.aborted) {
      const settled = this.readOnce(signal)
      inFlight.set(this.source, settled)
      await settled
      inFlight.delete(this.source)
    }
    this.isPolling = false
    if (!this.isRunning) return
    clearTimeout(this.timer)
    this.schedule(this.dueAt - performance.now())
  }

  private async readOnce(signal: AbortSignal): Promise<void> {
    try {
      const reading = await withoutTracing(() =>
        this.source.read(signal, this.times.pollTimeoutMillis),
      )
      if (!signal.aborted) this.succeeded(reading)
    } catch (error) {
      if (!signal.aborted) this.failed(error)
    }
  }

  /** While a read hangs, there is no next one that could fail: the deadline comes again at each interval. */
  private startDeadline(millis: number): void {
    const miss = () => {
      const message = `no answer within ${this.times.pollTimeoutMillis} ms`
      const error = Object.assign(new Error(message), { code: 'deadline' })
      this.read.abort(error)
      this.failed(error)
      this.startDeadline(this.times.pollIntervalMillis)
    }
    this.timer = unref(setTimeout(miss, millis))
  }

  private succeeded(reading: ReplicationReading): void {
    applyReading(this.feeds, this.feed, reading, this.times)
    this.failures.succeeded()
    const { note } = reading
    if (typeof note === 'string' && note !== this.note) {
      log('debug', `source ${formatValue(this.source.name)}: ${note}`)
    }
    this.note = note
  }

  private failed(error: unknown): void {
    this.feed.isUp = false
    this.failures.failed(error, performance.now())
  }
}

/** The key with which `@opentelemetry/core` suppresses tracing. Keys of one name are the same key in every copy of the API. */
const SUPPRESS_TRACING = createContextKey('OpenTelemetry SDK Context Key SUPPRESS_TRACING')

/** Auto-instrumented clients would make root spans of every read. */
function withoutTracing<T>(read: () => T): T {
  return context.with(context.active().setValue(SUPPRESS_TRACING, true), read)
}
