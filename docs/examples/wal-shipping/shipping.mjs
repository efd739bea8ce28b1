/**
 * @import { Readable, Writable } from 'node:stream'
 * @import { SegmentLog } from './segment-log.mjs'
 */
import { once } from 'node:events'
import { PassThrough } from 'node:stream'

/**
 * Ships the segments that one follower does not have, in order, and then every new one, until the stream is closed.
 * Each follower has its own call, and so its own position and speed.
 *
 * @param {SegmentLog} log the leader's
 * @param {Writable} stream to the follower
 * @param {bigint} after the last seqno that the follower has
 */
export async function ship(log, stream, after) {
  const closed = new AbortController()
  stream.once('close', () => closed.abort())
  try {
    if (after > log.seqno) {
      throw new Error(
        `the follower has segment ${after}, but the leader's log ends at ${log.seqno}`,
      )
    }
    for (let seqno = after + 1n; !stream.destroyed; seqno++) {
      await log.waitFor(seqno, closed.signal)
      const hasRoom = stream.write(await log.read(seqno))
      if (!hasRoom) await once(stream, 'drain', { signal: closed.signal })
    }
  } catch (error) {
    // The follower's next read throws the error. This has no effect if the stream was closed.
    stream.destroy(/** @type {Error} */ (error))
  }
}

/** How many segments can be in transit to a follower before the shipper has to wait. */
const MAX_IN_TRANSIT = 8

/** Simulates a network: delivers segments to followers asynchronously, in order and with backpressure. */
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
   * The follower's side: requests the segments after a seqno.
   *
   * @param {bigint} after
   * @returns {Readable} the segments; closing it ends the connection
   */
  connect(after) {
    if (this.#closed) throw new Error('the transport is closed')
    const stream = new PassThrough({ objectMode: true, highWaterMark: MAX_IN_TRANSIT })
    this.#streams.add(stream)
    stream.once('close', () => this.#streams.delete(stream))
    // The reader of the stream gets its error. Without a listener, it would end the process while no reader is waiting.
    stream.on('error', () => undefined)
    setImmediate(() => this.#onConnect(stream, after))
    return stream
  }

  /** Breaks all connections. Segments in transit are lost. */
  close() {
    this.#closed = true
    for (const stream of this.#streams) stream.destroy()
  }
}
