/**
 * @import { AtomicSeqno } from 'opentelemetry-instrumentation-replication-lag'
 * @import { Changes } from './segment-log.mjs'
 */
import { encodeSegment, SegmentLog } from './segment-log.mjs'

/** The node that writes the log. */
export class Leader {
  #leaderSeqno
  #lastAppend = Promise.resolve(0n)

  /**
   * @private use {@link Leader.open}
   * @param {SegmentLog} log
   * @param {AtomicSeqno} leaderSeqno
   */
  constructor(log, leaderSeqno) {
    this.log = log
    this.#leaderSeqno = leaderSeqno
    leaderSeqno.store(log.seqno)
  }

  /**
   * Opens a leader that continues the log in the folder.
   *
   * @param {string} folder
   * @param {AtomicSeqno} leaderSeqno from `gauge.leader(shard)`
   */
  static async open(folder, leaderSeqno) {
    return new Leader(await SegmentLog.open(folder), leaderSeqno)
  }

  /**
   * Appends a segment. Resolves with its seqno when it would survive a crash.
   *
   * @param {Changes} changes
   */
  append(changes) {
    // One after the other, in the order of the calls. After a failure all later ones fail too, because only reopening
    // the log shows what is on disk.
    this.#lastAppend = this.#lastAppend.then(() => this.#append(changes))
    return this.#lastAppend
  }

  /** @param {Changes} changes */
  async #append(changes) {
    const seqno = this.log.seqno + 1n
    await this.log.append(seqno, encodeSegment(seqno, changes))
    this.#leaderSeqno.store(seqno)
    return seqno
  }
}
