import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'
import type { PostgresNode } from './postgres.js'

/** The network between a standby and its upstream: a TCP proxy that can stop forwarding. It ends with the test. */
export class Link {
  private readonly pairs = new Set<{ near: Socket; far: Socket }>()
  private isCut = false

  private constructor(readonly port: number) {}

  static async to(node: PostgresNode): Promise<Link> {
    const server = createServer()
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const link = new Link((server.address() as AddressInfo).port)
    server.on('connection', (near) => link.forward(near, connect(node.port, '127.0.0.1')))
    onTestFinished(() => {
      server.close()
      for (const { near, far } of link.pairs) {
        near.destroy()
        far.destroy()
      }
    })
    return link
  }

  /** Forwards nothing from now on. Both sides keep their connections, as with a cable that was pulled out. */
  cut(): void {
    this.isCut = true
    for (const { near, far } of this.pairs) {
      near.pause()
      far.pause()
    }
  }

  /** Ends the connections of the standby without a word to its upstream. The next connections work. */
  drop(): void {
    for (const { near, far } of this.pairs) {
      near.removeAllListeners().on('error', () => undefined)
      far.removeAllListeners().on('error', () => undefined)
      far.pause()
      near.destroy()
    }
  }

  private forward(near: Socket, far: Socket): void {
    const pair = { near, far }
    this.pairs.add(pair)
    const end = () => {
      this.pairs.delete(pair)
      near.destroy()
      far.destroy()
    }
    for (const socket of [near, far]) socket.on('error', end).on('close', end)
    near.on('data', (bytes) => far.write(bytes))
    far.on('data', (bytes) => near.write(bytes))
    if (this.isCut) this.cut()
  }
}
