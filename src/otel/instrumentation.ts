import { metrics, type Meter, type MeterProvider, type ObservableGauge } from '@opentelemetry/api'
import type { ReplicationLagGauge } from '../lag-map/replication-lag-gauge.js'
import { startSampling } from '../lag-map/sampling.js'
import type { ReplicationSource } from '../sources/source.js'
import { describeError, log, OncePerSubject } from '../support/log.js'
import type { ReplicaId, ShardId } from '../support/names.js'
import { checkBoolean, checkObject, hasMethods, optionError } from '../support/option-errors.js'
import { unref } from '../support/timers.js'
import { readMetrics, SCOPE, selectMetrics, type Emit, type Metric } from './metrics.js'
import {
  checkOptions,
  resolveOptions,
  resolveReport,
  start,
  type ReplicationLagOptions,
  type ResolvedOptions,
} from './options.js'

/** Options of {@link ReplicationLagInstrumentation}. */
export interface ReplicationLagInstrumentationConfig extends ReplicationLagOptions {
  /**
   * Whether to start at construction. `registerInstrumentations` and NodeSDK start it regardless.
   * @default true
   */
  readonly enabled?: boolean | undefined
}

/**
 * Reports every follower in a lag map through ObservableGauges, and polls sources that update it.
 *
 * It has the structure of an OpenTelemetry `Instrumentation`: give it to `registerInstrumentations` or NodeSDK, or call
 * {@link setMeterProvider}. It uses the provider that it was given. Without one, or after that one was shut down, it uses the
 * global one, even if that is replaced.
 */
export class ReplicationLagInstrumentation {
  readonly instrumentationName = SCOPE.name
  readonly instrumentationVersion = SCOPE.version

  private readonly config: ReplicationLagInstrumentationConfig
  private options: ResolvedOptions
  private isEnabled = false
  private provider: MeterProvider | undefined
  private stopObserving: () => void = () => undefined
  private stopFollowing: () => void = () => undefined
  private readonly warnings = new OncePerSubject()

  /** @throws TypeError that names the option that is invalid and what was expected. */
  constructor(config: ReplicationLagInstrumentationConfig = {}) {
    checkOptions('ReplicationLagInstrumentation', config)
    const { enabled = true, ...options } = config
    checkBoolean('enabled', enabled)
    this.options = resolveOptions('ReplicationLagInstrumentation', options)
    this.config = { ...config, gauge: this.gauge }
    if (enabled) this.enable()
  }

  /** The lag map that is reported. */
  get gauge(): ReplicationLagGauge {
    return this.options.gauge
  }

  /** {@link ReplicationLagGauge.lagSeqno} of {@link gauge}: 0 for a follower that was never seen. */
  lagSeqno(shard: ShardId, replica?: ReplicaId): number {
    return this.gauge.lagSeqno(shard, replica)
  }

  /** Starts reporting and polling. Polling does not start if the environment variable `OTEL_SDK_DISABLED` is `true`. */
  enable(): void {
    if (this.isEnabled) return
    this.isEnabled = true
    this.observe()
    this.stopFollowing = this.followGlobal()
    start(this.options)
  }

  /** Stops reporting and polling until {@link enable}. The lag map stays as it is. */
  disable(): void {
    this.isEnabled = false
    this.stopObserving()
    this.stopObserving = () => undefined
    this.stopFollowing()
    this.options.poller.stop()
  }

  /**
   * Adds a source to poll. It is read immediately if the instrumentation is enabled.
   * @throws TypeError if it is not a source, or if another source of the gauge has its name.
   */
  addSource(source: ReplicationSource): void {
    this.options.poller.add(source)
  }

  /** Removes a source and everything it reported. Returns whether there was one with this name. */
  removeSource(name: string): boolean {
    return this.options.poller.remove(name)
  }

  /**
   * Reports through this provider from now on, and no longer through the one before.
   * @throws TypeError if it is not a meter provider.
   */
  setMeterProvider(meterProvider: MeterProvider): void {
    if (!hasMethods(meterProvider, 'getMeter')) {
      throw optionError('meterProvider', 'a MeterProvider', meterProvider)
    }
    this.provider = meterProvider
    if (this.isEnabled) this.observe()
  }

  /** Does nothing; the `Instrumentation` interface requires it. */
  setTracerProvider(): void {
    // There are no spans.
  }

  /** Returns the options that were given, what is reported now, and whether it is enabled now. */
  getConfig(): ReplicationLagInstrumentationConfig & { readonly enabled: boolean } {
    return { ...this.config, ...this.options.report, enabled: this.isEnabled }
  }

  /**
   * Changes what is reported: `lagSeconds` and `positions`. Omitted options return to their defaults. The other options are
   * fixed at construction, and a warning is logged if they differ. `enabled` has no effect: call {@link enable} or
   * {@link disable}.
   * @throws TypeError that names the option that is invalid and what was expected. Nothing has changed then.
   */
  setConfig(config: ReplicationLagInstrumentationConfig): void {
    checkObject('config', config)
    const { lagSeconds, positions } = config
    const report = resolveReport({ lagSeconds, positions })
    const current = this.config as Record<string, unknown>
    for (const [option, value] of Object.entries(config)) {
      if (['lagSeconds', 'positions', 'enabled'].includes(option)) continue
      if (value === undefined || value === current[option]) continue
      log('warn', `setConfig cannot change ${option}: create a new instrumentation instead`)
    }
    this.options = { ...this.options, report }
    if (!this.isEnabled) return
    this.observe()
    if (report.lagSeconds) startSampling(this.gauge.feeds)
  }

  /** Creates the instruments and callback on the current provider, replacing earlier ones. */
  private observe(): void {
    const global = metrics.getMeterProvider()
    for (const provider of [this.provider ?? global, global]) {
      const meter = provider.getMeter(SCOPE.name, SCOPE.version)
      const gauges = new Map(
        selectMetrics(this.options.report).map((metric) => {
          const { name, description, unit, valueType } = metric
          return [metric, meter.createObservableGauge(name, { description, unit, valueType })]
        }),
      )
      // A no-op meter, of any copy of the API, returns the same instrument for every name. A provider that was shut down
      // returns one.
      if (new Set(gauges.values()).size === 1) continue
      this.stopObserving()
      this.stopObserving = this.addCallbacks(meter, gauges)
      return
    }
  }

  /** Observes again whenever the global provider is replaced. The API does not announce that. */
  private followGlobal(): () => void {
    let last = metrics.getMeterProvider()
    const timer = setInterval(() => {
      const global = metrics.getMeterProvider()
      if (global === last) return
      last = global
      this.observe()
    }, 1000)
    unref(timer)
    return () => clearInterval(timer)
  }

  /** Returns a function that removes them. */
  private addCallbacks(meter: Meter, gauges: ReadonlyMap<Metric, ObservableGauge>): () => void {
    if (hasMethods(meter, 'addBatchObservableCallback', 'removeBatchObservableCallback')) {
      const instruments = [...gauges.values()]
      const callback: Parameters<Meter['addBatchObservableCallback']>[0] = (result) => {
        this.collect(gauges.keys(), (metric) => {
          const instrument = gauges.get(metric) as ObservableGauge
          return (value, attributes) => result.observe(instrument, value, attributes)
        })
      }
      meter.addBatchObservableCallback(callback, instruments)
      return () => meter.removeBatchObservableCallback(callback, instruments)
    }
    const callbacks = [...gauges].map(([metric, instrument]) => {
      const callback: Parameters<ObservableGauge['addCallback']>[0] = (result) => {
        this.collect([metric], () => (value, attributes) => result.observe(value, attributes))
      }
      instrument.addCallback(callback)
      return () => instrument.removeCallback(callback)
    })
    return () => callbacks.forEach((remove) => remove())
  }

  /** Never throws. */
  private collect(selected: Iterable<Metric>, emitOf: (metric: Metric) => Emit): void {
    try {
      readMetrics(this.gauge, [...selected], this.options.report, emitOf)
    } catch (error) {
      this.warnings.warn('collect', () => `cannot collect: ${describeError(error)} (logged once)`)
    }
  }
}
