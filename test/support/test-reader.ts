import { MetricReader, type MetricData } from '@opentelemetry/sdk-metrics'

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

/** One point of a gauge or a sum, as the SDK collected it. */
export interface Point {
  readonly attributes: Readonly<Record<string, unknown>>
  readonly value: number
}

/** A reader that collects when a test asks, without an exporter. An error in a collection fails the test. */
export class TestReader extends MetricReader {
  /** Collects once, and returns every metric of every scope. */
  async metrics(): Promise<MetricData[]> {
    const { resourceMetrics, errors } = await this.collect()
    if (errors.length > 0) throw new AggregateError(errors, 'collection failed')
    return resourceMetrics.scopeMetrics.flatMap(({ metrics }) => metrics)
  }

  /** Collects once, and returns the values by metric and attributes. */
  async values(): Promise<Collected> {
    return toCollected(await this.metrics())
  }

  /** Collects once, and returns the points of one metric in the SDK's order. */
  async points(name: string): Promise<Point[]> {
    const metrics = (await this.metrics()).filter(({ descriptor }) => descriptor.name === name)
    return metrics.flatMap(({ dataPoints }) => dataPoints.map(toPoint))
  }

  protected override onShutdown(): Promise<void> {
    return Promise.resolve()
  }

  protected override onForceFlush(): Promise<void> {
    return Promise.resolve()
  }
}

function toPoint({ attributes, value }: MetricData['dataPoints'][number]): Point {
  if (typeof value !== 'number') throw new TypeError('expected a gauge or a sum, got a histogram')
  return { attributes: { ...attributes }, value }
}
