import {
  createNoopMeter,
  metrics,
  type BatchObservableCallback,
  type Meter,
  type MeterProvider,
  type ObservableGauge,
} from '@opentelemetry/api'
import { tell } from './diagnostics.js'
import { errorMessage } from './show.js'
import type { ReplicaId, ShardId } from './follower.js'
import { SCOPE, selectMetrics, type Emit, type MetricGroup } from './metrics.js'
import {
  resolveConfig,
  type ReplicationLagInstrumentationConfig,
  type ResolvedConfig,
} from './config.js'
import { checkObject, optionError } from './option-errors.js'
import { SourcePoller } from './poller.js'
import type { ReplicationLagGauge } from './replication-lag-gauge.js'
import type { ReplicationReading, ReplicationSource } from './sources/source.js'
import { SourceRecord } from './source-record.js'

/** How often to look whether a global meter provider has been set, while there is none. */
const GLOBAL_PROVIDER_MILLIS = 1000

/** A source that is polled, and what is known of it. */
interface PolledSource {
  readonly source: ReplicationSource
  readonly poller: SourcePoller
  readonly record: SourceRecord
}

/** ObservableGauges, and the callback that was added for them. */
interface Observation {
  readonly meter: Meter
  readonly instruments: ObservableGauge[]
  readonly callback: BatchObservableCallback
}

/**
 * Reports every follower in a lag map through ObservableGauges, `replication_lag_seqno` first of all, and polls sources
 * that keep the map up to date.
 *
 * It is an OpenTelemetry `Instrumentation` by structure: give it to `registerInstrumentations` or to NodeSDK, or call
 * {@link setMeterProvider}. Without a provider of its own it uses the global one, also one that is set later.
 */
export class ReplicationLagInstrumentation {
  readonly instrumentationName = SCOPE.name
  readonly instrumentationVersion = SCOPE.version

  #config: ResolvedConfig
  #polled: PolledSource[] = []
  #enabled = false
  #provider: MeterProvider | undefined
  #observations: Observation[] = []
  #globalWatch: NodeJS.Timeout | undefined
  #toldFailure = false

  /** @throws TypeError that names the option that cannot work and says what was expected. */
  constructor(config: ReplicationLagInstrumentationConfig = {}) {
    this.#config = resolveConfig(config)
    this.#polled = createPolledSources(this.#config)
    if (this.#config.enabled) this.enable()
  }

  /** The lag map that is reported. */
  get gauge(): ReplicationLagGauge {
    return this.#config.gauge
  }

  /** {@link ReplicationLagGauge.lagSeqno} of {@link gauge}: 0 for what was never seen. A readiness probe may read it. */
  lagSeqno(shard: ShardId, replica?: ReplicaId): number {
    return this.gauge.lagSeqno(shard, replica)
  }

  /** Starts reporting and polling. Does nothing if they are under way. */
  enable(): void {
    if (this.#enabled) return
    this.#enabled = true
    this.#attach()
    this.#startSampling()
    for (const { poller, record } of this.#polled) {
      this.gauge.sources.add(record)
      poller.start()
    }
  }

  /** Stops reporting and polling, until {@link enable}. The lag map stays as it is. */
  disable(): void {
    this.#enabled = false
    this.#detach()
    this.gauge.sampler.stop(this)
    for (const { poller, record } of this.#polled) {
      poller.stop()
      // What it last read grows old from here on; another attachment of the gauge must not take it for fresh.
      record.withhold()
      this.gauge.sources.delete(record)
    }
  }

  /**
   * Reports through this provider from now on, and no longer through the one before.
   *
   * @throws TypeError if it is no meter provider.
   */
  setMeterProvider(meterProvider: MeterProvider): void {
    if (typeof (meterProvider as Partial<MeterProvider> | null)?.getMeter !== 'function') {
      throw optionError('meterProvider', 'a MeterProvider', meterProvider)
    }
    // What is the global one now, a no-op perhaps, was not chosen: one that becomes global later still takes its place.
    this.#provider = meterProvider === metrics.getMeterProvider() ? undefined : meterProvider
    this.#detach()
    if (this.#enabled) this.#attach()
  }

  /** Does nothing. An `Instrumentation` must have it. */
  setTracerProvider(): void {
    // There are no spans.
  }

  /** The options in force, with the defaults filled in. */
  getConfig(): ReplicationLagInstrumentationConfig {
    return { ...this.#config }
  }

  /**
   * Replaces the options; those left out go back to their defaults, but the gauge stays unless another is given. What
   * sources have reported that are polled no longer is forgotten.
   * `enabled` has no effect here: use {@link enable} and {@link disable}.
   *
   * @throws TypeError as the constructor does; the old options stay in force then.
   */
  setConfig(config: ReplicationLagInstrumentationConfig): void {
    checkObject('config', config)
    const resolved = resolveConfig({ gauge: this.gauge, ...config })
    const wasEnabled = this.#enabled
    this.disable()
    // Of those that are polled into the same gauge as before, what they have reported goes on.
    const before = resolved.gauge === this.gauge ? this.#polled : []
    const kept = before.filter(({ source }) => resolved.sources.includes(source))
    for (const polled of this.#polled) if (!kept.includes(polled)) polled.record.forget()
    this.#config = resolved
    this.#polled = createPolledSources(resolved, kept)
    if (wasEnabled) this.enable()
  }

  /** Looks regularly where the leaders are, to measure lag in seconds by. */
  #startSampling(): void {
    const { observableGauges, lagSeconds, positions, sampleIntervalMillis } = this.#config
    if (!observableGauges || !lagSeconds) return
    this.gauge.sampler.start(this, {
      intervalMillis: sampleIntervalMillis,
      withUnseen: !positions,
    })
  }

  #attach(): void {
    if (!this.#config.observableGauges) return
    const provider = this.#provider ?? metrics.getMeterProvider()
    const meter = provider.getMeter(SCOPE.name, SCOPE.version)
    const health = this.#config.sources.length > 0
    this.#observations = selectMetrics({ ...this.#config, health }).map((group) => {
      const instruments = group.metrics.map(({ name, ...options }) =>
        meter.createObservableGauge(name, options),
      )
      const callback = this.#createCallback(group, instruments)
      meter.addBatchObservableCallback(callback, instruments)
      return { meter, instruments, callback }
    })
    if (this.#provider || meter !== createNoopMeter()) return
    // There is no global provider yet, and the API does not say when one is set.
    this.#globalWatch = setInterval(() => {
      if (metrics.getMeterProvider() === provider) return
      this.#detach()
      this.#attach()
    }, GLOBAL_PROVIDER_MILLIS).unref()
  }

  #detach(): void {
    clearInterval(this.#globalWatch)
    for (const { meter, instruments, callback } of this.#observations.splice(0)) {
      meter.removeBatchObservableCallback(callback, instruments)
    }
  }

  /** Reports the points of the metrics. Synchronous, does no I/O, never throws. */
  #createCallback(group: MetricGroup, instruments: ObservableGauge[]): BatchObservableCallback {
    const { gauge } = this
    return (result) => {
      try {
        gauge.attachments.asked('instrumentation')
        const emits = instruments.map<Emit>((instrument) => (value, attributes) => {
          result.observe(instrument, value, attributes)
        })
        group.collect(gauge, ...emits)
      } catch (error) {
        if (this.#toldFailure) return
        this.#toldFailure = true
        const names = group.metrics.map(({ name }) => name).join(', ')
        tell('error', `cannot collect ${names}: ${errorMessage(error)} (told once)`)
      }
    }
  }
}

/** @param before those whose records are to go on. */
function createPolledSources(config: ResolvedConfig, before: PolledSource[] = []): PolledSource[] {
  const { gauge, sources, retentionMillis, pollIntervalMillis, pollTimeoutMillis } = config
  return sources.map((source) => {
    const known = before.find((polled) => polled.source === source)
    const record = known?.record ?? new SourceRecord(source.name, gauge, retentionMillis)
    record.retentionMillis = retentionMillis
    const listener = {
      onReading: (reading: ReplicationReading) => record.apply(reading, performance.now()),
      onMiss: () => record.miss(),
    }
    const options = { intervalMillis: pollIntervalMillis, timeoutMillis: pollTimeoutMillis }
    return { source, record, poller: new SourcePoller(source, listener, options) }
  })
}
