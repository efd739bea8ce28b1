import type { MetricData } from '@opentelemetry/sdk-metrics'
import {
  ReplicationLagGauge,
  ReplicationLagMetricProducer,
  ReplicationPoller,
  type PollingOptions,
  type ReplicationReading,
} from 'opentelemetry-instrumentation-replication-lag'
import { afterEach, beforeEach, vi } from 'vitest'
import { toCollected, type Collected } from './test-reader.js'
import { recordDiag, type DiagRecorder } from './diag.js'
import { ScriptedSource } from './scripted-source.js'

export const INTERVAL = 1000
export const TIMEOUT = 300
/** When a deadline is missed: after one more turn of the event loop. */
export const DEADLINE = TIMEOUT + 1

/** What a test of polling works with. It is new for each test. */
export interface PollingTest {
  readonly gauge: ReplicationLagGauge
  readonly source: ScriptedSource
  readonly logged: DiagRecorder
  /** Creates a poller of the gauge, which ends with the test. Without `sources` it has `source`. */
  poll(options?: PollingOptions & { gauge?: ReplicationLagGauge }): ReplicationPoller
  /** Creates a poller, starts it, and lets its first read begin. */
  start(options?: PollingOptions & { gauge?: ReplicationLagGauge }): Promise<ReplicationPoller>
}

/** Sets up each test of a file, with fake time. */
export function setUpPolling(): PollingTest {
  const pollers: ReplicationPoller[] = []
  let current: Omit<PollingTest, 'poll' | 'start'>
  beforeEach(() => {
    vi.useFakeTimers()
    const [gauge, source] = [new ReplicationLagGauge(), new ScriptedSource()]
    current = { gauge, source, logged: recordDiag() }
  })
  afterEach(() => {
    for (const poller of pollers.splice(0)) poller.stop()
    current.logged.stop()
    vi.useRealTimers()
  })
  return {
    get gauge() {
      return current.gauge
    },
    get source() {
      return current.source
    },
    get logged() {
      return current.logged
    },
    poll(options) {
      const poller = new ReplicationPoller({
        gauge: current.gauge,
        sources: [current.source],
        pollIntervalMillis: INTERVAL,
        pollTimeoutMillis: TIMEOUT,
        ...options,
      })
      pollers.push(poller)
      return poller
    },
    async start(options) {
      const poller = this.poll(options)
      poller.start()
      await pass(0)
      return poller
    },
  }
}

/** Lets time pass, with everything that happens in it. */
export async function pass(millis: number): Promise<void> {
  await vi.advanceTimersByTimeAsync(millis)
}

/** Answers the read in flight. */
export async function answer(source: ScriptedSource, reading: ReplicationReading): Promise<void> {
  // The read of a poller that was just started begins with the next turn of the event loop.
  await pass(0)
  source.last.answer(reading)
  await pass(0)
}

/** Makes the read in flight fail. */
export async function fail(source: ScriptedSource, error: unknown): Promise<void> {
  await pass(0)
  source.last.fail(error)
  await pass(0)
}

/** The lag of every follower that is reported, as `shard/replica: lag`. It fails if one is reported twice. */
export function lagsOf(gauge: ReplicationLagGauge): Record<string, number> {
  const lags: Record<string, number> = {}
  for (const { shard, replica = '', lagSeqno } of gauge.collectMetrics()) {
    const name = `${shard}/${replica}`
    if (name in lags) throw new Error(`${name} is reported twice`)
    if (lagSeqno !== undefined) lags[name] = lagSeqno
  }
  return lags
}

/** All metrics of a gauge, with the positions, as `name{shard,replica}: value`. */
export async function collectedFrom(
  from: ReplicationLagGauge | ReplicationLagMetricProducer,
): Promise<Collected> {
  const producer =
    'collect' in from ? from : new ReplicationLagMetricProducer({ gauge: from, positions: true })
  const { resourceMetrics } = await producer.collect()
  const metrics = resourceMetrics.scopeMetrics.flatMap(({ metrics }) => metrics)
  return toCollected(metrics as object[] as MetricData[])
}

/** The points of one metric, as `shard,replica: value`. */
export async function pointsOf(
  from: ReplicationLagGauge | ReplicationLagMetricProducer,
  metric: string,
): Promise<Collected> {
  const prefix = `${metric}{`
  const points = Object.entries(await collectedFrom(from)).filter(([name]) =>
    name.startsWith(prefix),
  )
  return Object.fromEntries(points.map(([name, value]) => [name.slice(prefix.length, -1), value]))
}
