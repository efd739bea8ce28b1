import { EventEmitter, once } from 'node:events'
import { mkdir, open, readdir, readFile, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { decodeSegment, TornSegmentError } from './segment.mjs'

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
