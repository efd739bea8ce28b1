import type { MetricData } from '@opentelemetry/sdk-metrics'

/** What was collected, as `name{shard,replica}: value`. */
export type Collected = Record<string, number>

/** Collects by the name of the metric and the values of its attributes. */
export function toCollected(metrics: readonly MetricData[]): Collected {
  const points = metrics.flatMap(({ descriptor: { name }, dataPoints }) =>
    dataPoints.map(({ attributes, value }) => {
      if (typeof value !== 'number') throw new TypeError(`${name} is no gauge`)
      return [`${name}{${Object.values(attributes).map(String).join()}}`, value] as const
    }),
  )
  return Object.fromEntries(points)
}
