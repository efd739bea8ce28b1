import { Feed } from '../lag-map/feed.js'
import type { ReplicationLagGauge } from '../lag-map/replication-lag-gauge.js'
import type { ReplicationSource } from '../sources/source.js'
import { formatValue } from '../support/log.js'
import {
  checkMillis,
  checkObject,
  checkTimer,
  hasMethods,
  optionError,
  warnAboutUnknown,
} from '../support/option-errors.js'
import { PollLoop, type PollTimes } from './poll-loop.js'

/** How sources are polled. */
export interface PollingOptions {
  /**
   * What to poll for positions. Each source needs its own name.
   * @default []
   */
  readonly sources?: readonly ReplicationSource[] | undefined
  /**
   * From the start of one read of a source to the start of the next, in milliseconds, 1 … 2^31 − 1.
   * @default 5000
   */
  readonly pollIntervalMillis?: number | undefined
  /**
   * How long a read may take before it is aborted and counts as failed, in milliseconds, 1 … 2^31 − 1.
   * @default 5000
   */
  readonly pollTimeoutMillis?: number | undefined
  /**
   * How long a follower is kept after its source stops reporting it, with its last known position, in milliseconds,
   * 0 … Infinity.
   * @default 3600000 (one hour)
   */
  readonly retentionMillis?: number | undefined
}

/** Options of {@link ReplicationPoller}. */
export interface ReplicationPollerOptions extends PollingOptions {
  /** The lag map to update. */
  readonly gauge: ReplicationLagGauge
}

/** Sources that start together are read this far apart, so that they do not make one load peak. */
const MAX_STAGGER_MILLIS = 50

/**
 * Reads sources at an interval into a lag map. Create one yourself for sources that come and go; otherwise give the sources
 * to the instrumentation or the metric producer, which create one.
 */
export class ReplicationPoller {
  private readonly gauge: ReplicationLagGauge
  private readonly times: PollTimes
  private readonly loops = new Map<string, PollLoop>()
  private isRunning = false

  /** @throws TypeError that names the option that is invalid and what was expected. */
  constructor(options: ReplicationPollerOptions) {
    checkObject('options', options)
    const {
      gauge,
      sources = [],
      pollIntervalMillis = 5000,
      pollTimeoutMillis = 5000,
      retentionMillis = 3_600_000,
      ...unknown
    } = options
    warnAboutUnknown('options', unknown)
    if (!hasMethods(gauge, 'collectMetrics', 'subscribe')) {
      throw optionError('gauge', 'a ReplicationLagGauge', gauge)
    }
    checkTimer('pollIntervalMillis', pollIntervalMillis)
    checkTimer('pollTimeoutMillis', pollTimeoutMillis)
    checkMillis('retentionMillis', retentionMillis, 0, Infinity)
    if (!Array.isArray(sources)) throw optionError('sources', 'an array of sources', sources)
    this.gauge = gauge
    this.times = { pollIntervalMillis, pollTimeoutMillis, retentionMillis }
    const all = sources as readonly ReplicationSource[]
    for (const [index, source] of all.entries()) {
      this.checkSource(`sources[${index}]`, source)
      const isFirst = all.findIndex(({ name }) => name === source.name) === index
      if (!isFirst) throw nameError(`sources[${index}]`, source.name)
    }
    for (const source of all) this.addLoop(source)
  }

  /** Starts polling. The first source is read immediately. Does nothing if it is running. */
  start(): void {
    if (this.isRunning) return
    this.isRunning = true
    const stagger = Math.min(MAX_STAGGER_MILLIS, this.times.pollIntervalMillis / this.loops.size)
    for (const [index, loop] of [...this.loops.values()].entries()) loop.start(index * stagger)
  }

  /** Stops polling and aborts the reads in flight. What was read is no longer reported, until {@link start}. */
  stop(): void {
    this.isRunning = false
    for (const loop of this.loops.values()) loop.stop()
  }

  /**
   * Adds a source. If polling is running, the source is read immediately.
   * @throws TypeError if it is not a source, or a source of this gauge already has its name.
   */
  add(source: ReplicationSource): void {
    this.checkSource('source', source)
    const loop = this.addLoop(source)
    if (this.isRunning) loop.start(0)
  }

  /** Removes a source and all that it reported. Returns whether this poller had it. */
  remove(name: string): boolean {
    const loop = this.loops.get(name)
    if (!loop) return false
    loop.stop()
    this.loops.delete(name)
    this.gauge.feeds.remove(loop.feed)
    return true
  }

  private addLoop(source: ReplicationSource): PollLoop {
    const { feeds } = this.gauge
    const feed = feeds.add(new Feed('source', source.name))
    const loop = new PollLoop(source, feeds, feed, this.times)
    this.loops.set(source.name, loop)
    return loop
  }

  private checkSource(option: string, source: ReplicationSource): void {
    if (!hasMethods(source, 'read')) {
      throw optionError(option, 'a source with a method read(signal)', source)
    }
    const { name } = source
    if (typeof name !== 'string' || name === '') {
      throw optionError(`${option}.name`, 'a non-empty string', name)
    }
    if (this.gauge.feeds.ofSource(name)) throw nameError(option, name)
  }
}

function nameError(option: string, name: string): TypeError {
  return new TypeError(
    `${option}.name: expected a name that is not yet in use on this gauge, got ${formatValue(name)}`,
  )
}
