import type { MetricData } from '@opentelemetry/sdk-metrics'

/** What was collected, as `name{shard,replica}: value`. */
export type Collected = Record<string, number>

/** Returns the values by metric and attributes. Throws if one occurs twice. */
export function toCollected(metrics: readonly MetricData[]): Collected {
  const collected: Collected = {}
  for (const { descriptor, dataPoints } of metrics) {
    for (const { attributes, value } of dataPoints) {
      const key = `${descriptor.name}{${Object.values(attributes).map(String).join()}}`
      if (typeof value !== 'number') throw new TypeError(`${key} is not a gauge or a sum`)
      if (key in collected) throw new Error(`${key} occurs twice`)
      collected[key] = value
    }
  }
  return collected
}
