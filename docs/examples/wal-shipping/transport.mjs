/** @import { Readable, Writable } from 'node:stream' */
import { PassThrough } from 'node:stream'

/** How many segments may be under way to a follower before the shipper has to wait. */
const SEGMENTS_UNDER_WAY = 8

/** Stands in for the network: brings segments to followers asynchronously, in order and with backpressure. */
export class Transport {
  #onConnect
  #closed = false
  /** @type {Set<PassThrough>} */
  #streams = new Set()

  /** @param {(stream: Writable, after: bigint) => void} onConnect the leader's side */
  constructor(onConnect) {
    this.#onConnect = onConnect
  }

  /**
   * The follower's side: asks for the segments that come after a seqno.
   *
   * @param {bigint} after
   * @returns {Readable} the segments; closing it ends the connection
   */
  connect(after) {
    if (this.#closed) throw new Error('the transport is closed')
    const stream = new PassThrough({ objectMode: true, highWaterMark: SEGMENTS_UNDER_WAY })
    this.#streams.add(stream)
    stream.once('close', () => this.#streams.delete(stream))
    // Whoever reads the stream gets its error; it must not end the process if nobody reads just now.
    stream.on('error', () => undefined)
    setImmediate(() => this.#onConnect(stream, after))
    return stream
  }

  /** Breaks all connections, as a network does: what is under way is lost. */
  close() {
    this.#closed = true
    for (const stream of this.#streams) stream.destroy()
  }
}
