import type { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import { listen } from './http.js'
import { parsePrometheusText, type Exposition } from '../servers/prometheus-text.mjs'

export { parsePrometheusText, type Exposition }

/** What a Prometheus server sees of an exporter. */
export interface MetricsEndpoint {
  readonly url: string
  /** Scrapes once, and returns the text. */
  readonly scrape: () => Promise<string>
  /** Scrapes once, and parses the text. Throws if it is malformed. */
  readonly read: () => Promise<Exposition>
  readonly close: () => Promise<void>
}

/**
 * Serves an exporter's metrics on a free TCP port.
 * The exporter's own server cannot, because it replaces port 0 by 9464. Create the exporter with `preventServerStart: true`.
 */
export async function serveMetrics(
  exporter: Pick<PrometheusExporter, 'getMetricsRequestHandler'>,
): Promise<MetricsEndpoint> {
  const server = await listen((request, response) => {
    if (request.url === '/metrics') exporter.getMetricsRequestHandler(request, response)
    else response.writeHead(404).end()
  })
  const url = `${server.url}/metrics`
  const scrape = async () => {
    const response = await fetch(url)
    const body = await response.text()
    const type = response.headers.get('content-type') ?? ''
    if (!response.ok || !type.startsWith('text/plain')) {
      throw new Error(`scrape: expected 200 text/plain, got ${response.status} ${type}: ${body}`)
    }
    return body
  }
  return {
    url,
    scrape,
    read: async () => parsePrometheusText(await scrape()),
    close: server.close,
  }
}
