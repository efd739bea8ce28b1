import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * @typedef {object} Pair the two ends of one connection
 * @property {import('node:net').Socket} client
 * @property {import('node:net').Socket} server
 * @property {number} unanswered how many pieces of data the client has sent since the server last answered
 * @property {string | undefined} greeting the first piece of data that the client has sent
 */

/** How many bytes pass at once where it is throttled. */
const PIECE = 1000

/** A TCP proxy on loopback. While it is closed it holds all data back, and connections stay open. */
export class Gate {
  #server
  /** @type {Set<Pair>} */
  #pairs = new Set()
  /** Which connections are held back, by their greeting. @type {((greeting: string) => boolean) | undefined} */
  #isHeld
  #target
  #delayMillis = 0
  #bytesPerSecond = Infinity

  /** @param {number} target the port of the server behind it */
  constructor(target) {
    this.#target = target
    this.#server = createServer((client) => this.#accept(client))
  }

  /** @param {number} target the port of the server behind it */
  static async open(target) {
    const gate = new Gate(target)
    gate.#server.listen(0, '127.0.0.1')
    await once(gate.#server, 'listening')
    return gate
  }

  /** The port that it listens on. */
  get port() {
    const address = this.#server.address()
    return typeof address === 'object' && address ? address.port : 0
  }

  /** How many connections are open. */
  get connections() {
    return [...this.#pairs].filter(({ client }) => !client.destroyed).length
  }

  /** How much clients wait for: the pieces of data that the server has not answered, of all open connections. */
  get unanswered() {
    return [...this.#pairs].reduce((sum, { unanswered }) => sum + unanswered, 0)
  }

  /**
   * Holds back what is sent, in both directions.
   *
   * @param {(greeting: string) => boolean} [isHeld] of which connections, by the first data of the client. Default: all.
   */
  close(isHeld = () => true) {
    this.#isHeld = isHeld
    for (const pair of this.#pairs) this.#apply(pair)
  }

  /** Lets through what was held back, and all that comes. */
  reopen() {
    this.#isHeld = undefined
    for (const pair of this.#pairs) this.#apply(pair)
  }

  /**
   * Holds back each piece of data for so long, in both directions, like a server that is far away.
   *
   * @param {number} millis 0 ends it
   */
  delay(millis) {
    this.#delayMillis = millis
  }

  /** Lets through only so much, in each direction of a connection. @param {number} bytesPerSecond */
  throttle(bytesPerSecond) {
    this.#bytesPerSecond = bytesPerSecond
  }

  /** Points it to another server. Connections to the old one break. @param {number} target */
  moveTo(target) {
    this.redirect(target)
    this.breakConnections()
  }

  /** Points new connections to another server, as DNS does. Those to the old one stay. @param {number} target */
  redirect(target) {
    this.#target = target
  }

  breakConnections() {
    for (const { client, server } of this.#pairs) {
      client.destroy()
      server.destroy()
    }
  }

  /** Ends the connections of the clients without a word to the server, which keeps waiting for them. New ones work. */
  dropClients() {
    for (const { client, server } of this.#pairs) {
      for (const socket of [client, server])
        socket.removeAllListeners().on('error', () => undefined)
      server.pause()
      client.destroy()
    }
  }

  /** Ends it and all connections. */
  async stop() {
    this.breakConnections()
    this.#server.close()
    await once(this.#server, 'close')
  }

  /** @param {import('node:net').Socket} client */
  #accept(client) {
    const server = connect(this.#target, '127.0.0.1')
    // Otherwise small pieces wait for the acknowledgement of the last one, which takes 40 ms.
    for (const socket of [client, server]) socket.setNoDelay()
    /** @type {Pair} */
    const pair = { client, server, unanswered: 0, greeting: undefined }
    this.#pairs.add(pair)
    const end = () => {
      client.destroy()
      server.destroy()
      this.#pairs.delete(pair)
    }
    for (const socket of [client, server]) socket.on('error', end).on('close', end)
    const toServer = this.#writerOf(server)
    const toClient = this.#writerOf(client)
    client.on('data', (data) => {
      pair.unanswered++
      toServer(data)
      if (pair.greeting !== undefined) return
      pair.greeting = data.toString('latin1')
      this.#apply(pair)
    })
    server.on('data', (data) => {
      pair.unanswered = 0
      toClient(data)
    })
    this.#apply(pair)
  }

  /**
   * Returns a function that writes in order, each piece of data after the delay and no faster than allowed.
   *
   * @param {import('node:net').Socket} socket
   */
  #writerOf(socket) {
    let last = Promise.resolve()
    let waiting = 0
    return (/** @type {Buffer} */ data) => {
      if (this.#delayMillis === 0 && this.#bytesPerSecond === Infinity && waiting === 0) {
        socket.write(data)
        return
      }
      waiting++
      last = Promise.all([last, sleep(this.#delayMillis)]).then(async () => {
        let at = 0
        while (this.#bytesPerSecond < Infinity && at < data.length && socket.writable) {
          await sleep((PIECE / this.#bytesPerSecond) * 1000)
          socket.write(data.subarray(at, (at += PIECE)))
        }
        waiting--
        if (socket.writable) socket.write(data.subarray(at))
      })
    }
  }

  /** @param {Pair} pair */
  #apply({ client, server, greeting = '' }) {
    const isHeld = this.#isHeld?.(greeting) === true
    for (const socket of [client, server]) {
      if (isHeld) socket.pause()
      else socket.resume()
    }
  }
}
