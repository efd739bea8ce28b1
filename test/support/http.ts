import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface TestServer {
  /** Has neither a path nor a slash at its end. */
  readonly url: string
  /** Also drops open connections, because one that is kept alive would keep the server open. */
  readonly close: () => Promise<void>
}

/** Starts an HTTP server on a free TCP port of this machine. */
export async function listen(onRequest: RequestListener): Promise<TestServer> {
  const server = createServer(onRequest).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    async close() {
      if (!server.listening) return
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}
