import { context, createContextKey } from '@opentelemetry/api'
import { applyReading } from '../lag-map/apply-reading.js'
import type { Feed } from '../lag-map/feed.js'
import type { Feeds } from '../lag-map/feeds.js'
import { parseReading, type ReplicationReading } from '../lag-map/reading.js'
import type { ReplicationSource } from '../sources/source.js'
import { formatValue, log } from '../support/log.js'
import { startTimeout, unref } from '../support/timers.js'
import { FailureLog } from './failure-log.js'

/** How often to read, how long a read may take, and how long to keep a follower that has disconnected. */
export type PollTimes = Readonly<
  Record<'pollIntervalMillis' | 'pollTimeoutMillis' | 'retentionMillis', number>
>

/** The reads in flight. A source object shared by loops, or added twice, still has one read in flight. */
const inFlight = new WeakMap<ReplicationSource, Promise<void>>()

/**
 * Reads one source at an interval into its feed. One read is in flight at a time, even if it hangs past its deadline or
 * across a stop and start: a slow system never gets a second query before it has answered the first or given it up.
 */
export class PollLoop {
  private readonly failures: FailureLog
  private isRunning = false
  private isPolling = false
  private dueAt = 0
  private read = new AbortController()
  private stopTimer: () => void = () => undefined
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
    else this.schedule(delayMillis)
  }

  /** Stops, aborts the read in flight and ignores its result. Earlier readings are no longer reported. */
  stop(): void {
    this.isRunning = false
    this.stopTimer()
    this.read.abort(new Error('polling was stopped'))
    this.feed.freshUntil = -Infinity
    this.feed.isUp = undefined
  }

  private schedule(delayMillis: number): void {
    // Even a read that is due gets a timer: a source that settles without I/O would block the event loop, and an SDK that is
    // started right after this poller would not know yet that reads are not to be traced.
    const timer = setTimeout(() => void this.poll(), Math.max(0, delayMillis))
    // A read that is due must begin even if nothing else keeps the process alive: its connection may.
    if (delayMillis > 0) unref(timer)
    this.stopTimer = () => clearTimeout(timer)
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
    this.stopTimer()
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

  /** A hanging read delays the next one, so the deadline repeats at each interval. */
  private startDeadline(millis: number): void {
    const miss = () => {
      const message = `no answer within ${this.times.pollTimeoutMillis} ms`
      const error = Object.assign(new Error(message), { code: 'deadline' })
      this.read.abort(error)
      this.failed(error)
      this.startDeadline(this.times.pollIntervalMillis)
    }
    this.stopTimer = startTimeout(miss, millis)
  }

  /** @throws TypeError if the reading is not valid. Nothing has changed then. */
  private succeeded(reading: ReplicationReading): void {
    const parsed = parseReading(reading)
    const { feed, times } = this
    const sampling = { at: performance.now() }
    feed.isUp = true
    feed.lastSuccessSeconds = Date.now() / 1000
    feed.readAt = sampling.at
    feed.freshMillis = Math.max(15_000, 3 * times.pollIntervalMillis + times.pollTimeoutMillis)
    feed.freshUntil = sampling.at + feed.freshMillis
    applyReading(this.feeds, feed, parsed, sampling, times.retentionMillis)
    this.failures.succeeded()
    const { note } = parsed
    if (note && note !== this.note) log('debug', `source ${formatValue(this.source.name)}: ${note}`)
    this.note = note
  }

  private failed(error: unknown): void {
    this.feed.isUp = false
    this.failures.failed(error, performance.now())
  }
}

/** The key with which `@opentelemetry/core` suppresses tracing. Keys of one name are the same key in every copy of the API. */
const SUPPRESS_TRACING = createContextKey('OpenTelemetry SDK Context Key SUPPRESS_TRACING')

/** Instrumented clients would create a root span for every read. */
function withoutTracing<T>(read: () => T): T {
  return context.with(context.active().setValue(SUPPRESS_TRACING, true), read)
}
