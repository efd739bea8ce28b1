/**
 * @import { Readable } from 'node:stream'
 * @import { AtomicSeqno } from 'opentelemetry-instrumentation-replication-lag'
 * @import { Changes } from './segment-log.mjs'
 * @import { Transport } from './shipping.mjs'
 */
import { decodeSegment, SegmentLog } from './segment-log.mjs'

/** A node that stores the leader's segments in its own log, and applies them to a map. */
export class Follower {
  #log
  #appliedSeqno
  /** @type {Map<string, string>} */
  #values = new Map()
  /** @type {Readable | undefined} */
  #stream
  /** @type {AsyncIterator<Buffer, undefined> | undefined} */
  #segments

  /**
   * @private use {@link Follower.open}
   * @param {SegmentLog} log
   * @param {AtomicSeqno} appliedSeqno
   */
  constructor(log, appliedSeqno) {
    this.#log = log
    this.#appliedSeqno = appliedSeqno
  }

  /**
   * Opens a follower and restores its state from the log in the folder.
   *
   * @param {string} folder
   * @param {AtomicSeqno} appliedSeqno from `gauge.applied(shard)`; with several followers, from `gauge.applied(shard, replica)`
   */
  static async open(folder, appliedSeqno) {
    const log = await SegmentLog.open(folder)
    const follower = new Follower(log, appliedSeqno)
    for (let seqno = 1n; seqno <= log.seqno; seqno++) {
      follower.#applyChanges(decodeSegment(await log.read(seqno)).changes)
    }
    appliedSeqno.store(log.seqno)
    return follower
  }

  /** The newest seqno that was applied; 0 if none was. */
  get seqno() {
    return this.#log.seqno
  }

  /** @param {string} key */
  get(key) {
    return this.#values.get(key)
  }

  /**
   * Requests the segments that this follower does not have. They arrive as {@link apply} consumes them.
   *
   * @param {Transport} transport
   */
  connect(transport) {
    this.disconnect()
    this.#stream = transport.connect(this.seqno)
    this.#segments = this.#stream[Symbol.asyncIterator]()
  }

  disconnect() {
    this.#stream?.destroy()
  }

  /**
   * Applies a number of segments, and waits for those that do not exist yet. Without a limit it continues forever.
   * Rejects when the connection breaks. After {@link connect}, nothing is lost or applied twice.
   *
   * @param {number} [limit]
   */
  async apply(limit = Infinity) {
    if (!this.#segments) throw new Error('not connected')
    for (let applied = 0; applied < limit; applied++) {
      const { done, value: segment } = await this.#segments.next()
      if (done) throw new Error('the connection is closed')
      const { seqno, changes } = decodeSegment(segment)
      await this.#log.append(seqno, segment)
      this.#applyChanges(changes)
      this.#appliedSeqno.store(seqno)
    }
  }

  /** @param {Changes} changes */
  #applyChanges(changes) {
    for (const [key, value] of Object.entries(changes)) {
      if (value === null) this.#values.delete(key)
      else this.#values.set(key, value)
    }
  }
}
