import { EventEmitter, once } from 'node:events'
import { mkdir, open, readdir, readFile, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
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

/** A write-ahead log: a folder with one file per segment, named by its seqno. The first seqno is 1. */
export class SegmentLog {
  #folder
  #seqno
  // One listener for each follower that waits, so there may be many.
  #appended = new EventEmitter().setMaxListeners(0)

  /**
   * @private use {@link SegmentLog.open}
   * @param {string} folder
   * @param {bigint} seqno
   */
  constructor(folder, seqno) {
    this.#folder = folder
    this.#seqno = seqno
  }

  /**
   * Opens the log in a folder, or creates one.
   *
   * @param {string} folder
   */
  static async open(folder) {
    await mkdir(folder, { recursive: true })
    const files = (await readdir(folder)).filter((file) => /^\d{20}\.segment$/.test(file)).sort()
    const newest = files.at(-1)
    // Only the newest can be torn, by a crash during append(). It was never acknowledged, so it can be deleted.
    if (newest && (await isTorn(join(folder, newest)))) {
      await unlink(join(folder, newest))
      files.pop()
    }
    const seqno = BigInt(files.at(-1)?.slice(0, 20) ?? 0)
    if (seqno !== BigInt(files.length)) {
      throw new Error(`${folder}: expected segments 1 to ${seqno}, found only ${files.length}`)
    }
    const log = new SegmentLog(folder, seqno)
    // A crash may have left the newest complete but not synced.
    if (seqno > 0n) await sync(log.#path(seqno))
    await sync(folder)
    return log
  }

  /** The newest seqno in the log; 0 if it is empty. */
  get seqno() {
    return this.#seqno
  }

  /**
   * Appends a segment. Resolves when it would survive a crash. Call it again only then.
   *
   * @param {bigint} seqno the next one
   * @param {Buffer} segment
   */
  async append(seqno, segment) {
    if (seqno !== this.#seqno + 1n) {
      throw new Error(`expected segment ${this.#seqno + 1n}, got ${seqno}`)
    }
    await writeFile(this.#path(seqno), segment, { flag: 'wx', flush: true })
    // A new file survives a crash only once its folder is on disk too.
    await sync(this.#folder)
    this.#seqno = seqno
    this.#appended.emit('segment')
  }

  /** @param {bigint} seqno */
  read(seqno) {
    return readFile(this.#path(seqno))
  }

  /**
   * Resolves when the log has the segment.
   *
   * @param {bigint} seqno
   * @param {AbortSignal} signal
   */
  async waitFor(seqno, signal) {
    while (this.#seqno < seqno) await once(this.#appended, 'segment', { signal })
  }

  /** @param {bigint} seqno */
  #path(seqno) {
    // Twenty digits hold any seqno, so the order of the names is the order of the segments.
    return join(this.#folder, `${seqno.toString().padStart(20, '0')}.segment`)
  }
}

/** @param {string} path */
async function isTorn(path) {
  try {
    decodeSegment(await readFile(path))
    return false
  } catch (error) {
    if (error instanceof TornSegmentError) return true
    throw error
  }
}

/** @param {string} path of a file or a folder */
async function sync(path) {
  const handle = await open(path)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
