import type { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { parsePrometheusText } from '../servers/prometheus-text.mjs'

export { parsePrometheusText }

/** Starts an HTTP server on a free TCP port of this machine. */
export async function listen(onRequest: RequestListener) {
  const server = createServer(onRequest).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    /** Has neither a path nor a slash at its end. */
    url: `http://127.0.0.1:${port}`,
    /** Also drops open connections, because one that is kept alive would keep the server open. */
    close: async () => {
      if (!server.listening) return
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

/**
 * Serves an exporter's metrics on a free TCP port.
 * The exporter's own server cannot, because it replaces port 0 by 9464. Create the exporter with `preventServerStart: true`.
 */
export async function serveMetrics(exporter: Pick<PrometheusExporter, 'getMetricsRequestHandler'>) {
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
    /** Scrapes once, and returns the text. */
    scrape,
    /** Scrapes once, and parses the text. Throws if it is malformed. */
    read: async () => parsePrometheusText(await scrape()),
    close: server.close,
  }
}
