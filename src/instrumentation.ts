import {
  createNoopMeter,
  metrics,
  type MeterProvider,
  type ObservableCallback,
  type ObservableGauge,
} from '@opentelemetry/api'
import { tell } from './diagnostics.js'
import { errorMessage, show } from './show.js'
import type { ReplicaId, ShardId } from './follower.js'
import { LAG_SEQNO, SCOPE } from './metrics.js'
import {
  resolveConfig,
  type ReplicationLagInstrumentationConfig,
  type ResolvedConfig,
} from './config.js'
import { SourcePoller } from './poller.js'
import type { ReplicationLagGauge } from './replication-lag-gauge.js'
import { lagBetween } from './seqno.js'
import { SourceFollowers } from './source-followers.js'

/** How often to look whether a global meter provider has been set, while there is none. */
const GLOBAL_PROVIDER_MILLIS = 1000

/**
 * Reports `replication_lag_seqno` of every follower in a lag map through an ObservableGauge, and polls sources that keep
 * the map up to date.
 *
 * It is an OpenTelemetry `Instrumentation` by structure: give it to `registerInstrumentations` or to NodeSDK, or call
 * {@link setMeterProvider}. Without a provider of its own it uses the global one, also one that is set later.
 */
export class ReplicationLagInstrumentation {
  readonly instrumentationName = SCOPE.name
  readonly instrumentationVersion = SCOPE.version

  #config: ResolvedConfig
  #pollers: SourcePoller[] = []
  #enabled = false
  #provider: MeterProvider | undefined
  #instrument: ObservableGauge | undefined
  #globalWatch: NodeJS.Timeout | undefined
  #toldFailure = false

  /** @throws TypeError that names the option that cannot work and says what was expected. */
  constructor(config: ReplicationLagInstrumentationConfig = {}) {
    this.#config = resolveConfig(config)
    this.#pollers = createPollers(this.#config)
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
    for (const poller of this.#pollers) poller.start()
  }

  /** Stops reporting and polling, until {@link enable}. The lag map stays as it is. */
  disable(): void {
    this.#enabled = false
    this.#detach()
    for (const poller of this.#pollers) poller.stop()
  }

  /**
   * Reports through this provider from now on, and no longer through the one before.
   *
   * @throws TypeError if it is no meter provider.
   */
  setMeterProvider(meterProvider: MeterProvider): void {
    if (typeof (meterProvider as Partial<MeterProvider> | null)?.getMeter !== 'function') {
      throw new TypeError(`meterProvider: expected a MeterProvider, got ${show(meterProvider)}`)
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
   * Replaces the options; those left out go back to their defaults, but the gauge stays unless another is given.
   * `enabled` has no effect here: use {@link enable} and {@link disable}.
   *
   * @throws TypeError as the constructor does; the old options stay in force then.
   */
  setConfig(config: ReplicationLagInstrumentationConfig): void {
    const resolved = resolveConfig({ gauge: this.gauge, ...config })
    const wasEnabled = this.#enabled
    this.disable()
    this.#config = resolved
    this.#pollers = createPollers(resolved)
    if (wasEnabled) this.enable()
  }

  /** Reports every follower of the map. Synchronous, does no I/O, never throws. */
  readonly #observe: ObservableCallback = (result) => {
    try {
      this.gauge.forEachFollower((follower, leaderSeqno, appliedSeqno) =>
        result.observe(lagBetween(leaderSeqno, appliedSeqno ?? 0n), follower),
      )
    } catch (error) {
      if (!this.#toldFailure) tell('error', `cannot collect: ${errorMessage(error)} (told once)`)
      this.#toldFailure = true
    }
  }

  #attach(): void {
    const provider = this.#provider ?? metrics.getMeterProvider()
    const meter = provider.getMeter(SCOPE.name, SCOPE.version)
    const { name, ...options } = LAG_SEQNO
    this.#instrument = meter.createObservableGauge(name, options)
    this.#instrument.addCallback(this.#observe)
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
    this.#instrument?.removeCallback(this.#observe)
    this.#instrument = undefined
  }
}

function createPollers(config: ResolvedConfig): SourcePoller[] {
  const { gauge, sources, retentionMillis, pollIntervalMillis, pollTimeoutMillis } = config
  return sources.map((source) => {
    const followers = new SourceFollowers(gauge, retentionMillis)
    return new SourcePoller(source, (reading) => followers.apply(reading, performance.now()), {
      intervalMillis: pollIntervalMillis,
      timeoutMillis: pollTimeoutMillis,
    })
  })
}
