/**
 * @import { Writable } from 'node:stream'
 * @import { SegmentLog } from './segment-log.mjs'
 */
import { once } from 'node:events'

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
