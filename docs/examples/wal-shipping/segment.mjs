import { crc32 } from 'node:zlib'

/**
 * What one segment changes: new values by key; `null` deletes the key.
 *
 * @typedef {Record<string, string | null>} Changes
 */

/** A segment that a crash left incomplete, or that was damaged later. */
export class TornSegmentError extends Error {}

/** length of the rest, u32 · CRC-32 of the rest, u32 · the rest: seqno, u64 · changes, JSON */
const FRAME_BYTES = 8
const SEQNO_BYTES = 8

/** @type {(json: string) => Changes} */
const parseChanges = JSON.parse

/**
 * @param {bigint} seqno
 * @param {Changes} changes
 * @returns {Buffer} the segment as it is written to disk and shipped
 */
export function encodeSegment(seqno, changes) {
  const body = Buffer.from(JSON.stringify(changes))
  const segment = Buffer.alloc(FRAME_BYTES + SEQNO_BYTES + body.length)
  segment.writeBigUInt64BE(seqno, FRAME_BYTES)
  body.copy(segment, FRAME_BYTES + SEQNO_BYTES)
  const rest = segment.subarray(FRAME_BYTES)
  segment.writeUInt32BE(rest.length, 0)
  segment.writeUInt32BE(crc32(rest), 4)
  return segment
}

/**
 * @param {Buffer} segment
 * @returns {{ seqno: bigint, changes: Changes }}
 * @throws {TornSegmentError}
 */
export function decodeSegment(segment) {
  const rest = segment.subarray(FRAME_BYTES)
  const isWhole =
    rest.length >= SEQNO_BYTES &&
    rest.length === segment.readUInt32BE(0) &&
    crc32(rest) === segment.readUInt32BE(4)
  if (!isWhole) throw new TornSegmentError(`a torn segment of ${segment.length} bytes`)
  return {
    seqno: rest.readBigUInt64BE(0),
    changes: parseChanges(rest.toString('utf8', SEQNO_BYTES)),
  }
}
