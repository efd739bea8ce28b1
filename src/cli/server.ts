import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { WatchedSource } from './watched-source.js'

export type Handler = (request: IncomingMessage, response: ServerResponse) => void

/**
 * Serves `/metrics` and `/health`.
 *
 * @param metrics has what answers `/metrics`. It can be added later.
 * @returns the address.
 * @throws Error that says on one line why it cannot listen, and what to do.
 */
export async function serve(
  { port, host }: { readonly port: number; readonly host: string | undefined },
  metrics: { readonly scrape?: Handler | undefined },
  sources: readonly WatchedSource[],
): Promise<string> {
  const server = createServer((request, response) => {
    const [path] = (request.url ?? '').split('?')
    const handler = path === '/metrics' ? metrics.scrape : undefined
    if (handler) handler(request, response)
    else if (path === '/health') sendHealth(response, sources)
    else response.writeHead(404, { 'content-type': 'text/plain' }).end('See /metrics and /health\n')
  })
  server.listen({ port, host })
  try {
    await once(server, 'listening')
  } catch (error) {
    throw new Error(explain(error as NodeJS.ErrnoException, port, host), { cause: error })
  }
  const address = server.address() as AddressInfo
  const name = host === undefined ? 'localhost' : host.includes(':') ? `[${host}]` : host
  return `http://${name}:${address.port}`
}

/** It answers 200 for as long as the process works: restarting it repairs no database. */
function sendHealth(response: ServerResponse, sources: readonly WatchedSource[]): void {
  const states = sources
    .filter(({ isUp }) => isUp !== undefined)
    .map(({ name, isUp }) => [name, isUp ? 'up' : 'down'])
  response.setHeader('content-type', 'application/json')
  response.end(JSON.stringify({ sources: Object.fromEntries(states) as unknown }))
}

function explain({ code, message }: NodeJS.ErrnoException, port: number, host?: string): string {
  switch (code) {
    case 'EADDRINUSE':
      return `port ${port} is in use by another process. Choose another one with --port`
    case 'EACCES':
      return `this user may not listen on port ${port}. Choose one above 1023 with --port`
    default:
      return `cannot listen on ${host}, check --host: ${message}`
  }
}
