import {
  checkMillis,
  checkObject,
  hasMethods,
  optionError,
  warnAboutUnknown,
} from '../support/option-errors.js'
import { formatValue } from '../support/log.js'
import { parseName } from '../support/names.js'
import { Block, BLOCK_BYTES, isCellIndex } from './atomic-seqno.js'
import { Feed, type FeedListener, type Follower, type Leader } from './feed.js'
import type { Feeds } from './feeds.js'

/** What is used of a `MessagePort` of `node:worker_threads`. */
export interface ThreadPort {
  postMessage(message: unknown): void
  on(event: 'message', listener: (message: unknown) => void): unknown
  on(event: 'close', listener: () => void): unknown
  unref(): void
}

/** Options of {@link ReplicationLagGauge.subscribe}. */
export interface SubscribeOptions {
  /**
   * How long the entries of a thread that has ended are still reported, in milliseconds, 0 … Infinity.
   * @default 3600000 (one hour)
   */
  readonly retentionMillis?: number
}

/** The layout of messages and of shared memory. Another version of this package may use a different layout. */
const VERSION = 1

/**
 * An entry that was added: whether it is a leader, its names, and where its seqno is in shared memory. Without the rest, one
 * that was removed. A message has them in the order in which it happened, or 'end' when the thread stops publishing.
 */
type Change = readonly [
  ...[isLeader: boolean, shard: string, replica: string | undefined],
  ...([memory: unknown, index: number, hadNamedFollower?: boolean] | []),
]

/**
 * Announces the leaders and followers of the application at a port, existing ones first. Returns a
 * function that ends it.
 *
 * @internal
 */
export function publish(application: Feed, state: Feed, port: ThreadPort): () => void {
  checkPort(port)
  if (typeof SharedArrayBuffer === 'undefined') {
    throw new Error('publish: this environment has no SharedArrayBuffer')
  }
  let changes: Change[] = []
  const send = () => {
    if (changes.length > 0) port.postMessage({ replicationLag: VERSION, changes })
    changes = []
  }
  const announce = (change: Change) => {
    // Batch all changes of one event-loop turn.
    if (changes.push(change) === 1) queueMicrotask(send)
  }
  const listener: FeedListener = {
    leaderAdded: (leader) => announce(addedLeader(leader)),
    leaderRemoved: ({ shard }) => announce([true, shard, undefined]),
    followerAdded: (follower) => announce(addedFollower(follower)),
    followerRemoved: ({ attributes: { shard, replica } }) => announce([false, shard, replica]),
  }
  application.listen(listener)
  state.listen(listener)
  for (const leader of application.leaders.values()) changes.push(addedLeader(leader))
  for (const shard of state.followers.keys()) {
    changes.push(...state.followersOf(shard).map(addedFollower))
  }
  send()
  const stop = () => {
    changes = []
    state.unlisten(listener)
    return application.unlisten(listener)
  }
  port.on('close', stop)
  return () => {
    if (stop()) port.postMessage({ replicationLag: VERSION, changes: 'end' })
  }
}

function addedLeader({ shard, block, index, hadNamedFollower }: Leader): Change {
  return [true, shard, undefined, block.memory, index, hadNamedFollower]
}

function addedFollower({ attributes: { shard, replica }, block, index }: Follower): Change {
  return [false, shard, replica, block.memory, index]
}

/** @internal Adds a feed for the entries another thread announces on a port. */
export function subscribe(feeds: Feeds, port: ThreadPort, options: SubscribeOptions = {}): void {
  checkPort(port)
  checkObject('options', options)
  const { retentionMillis = 3_600_000, ...unknown } = options
  checkMillis('retentionMillis', retentionMillis, 0, Infinity)
  warnAboutUnknown('subscribe', unknown)
  let feed = feeds.add(new Feed('thread'))
  port.on('message', (message) => {
    const changes = readChanges(message)
    if (changes === undefined) {
      reject(feeds, message)
    } else if (changes === 'end') {
      feeds.remove(feed)
      // The thread may publish at this port again.
      feed = feeds.add(new Feed('thread'))
    } else {
      const blocks = new Map<unknown, Block>()
      for (const change of changes) if (!apply(feed, change, blocks)) reject(feeds, change)
    }
  })
  port.on('close', () => {
    const now = performance.now()
    feeds.close(feed, now, now + retentionMillis)
  })
  // After on('message'), which makes the port keep the process alive.
  port.unref()
}

function readChanges(message: unknown): unknown[] | 'end' | undefined {
  const { replicationLag, changes } = (message ?? {}) as Partial<Record<string, unknown>>
  if (replicationLag !== VERSION) return undefined
  return Array.isArray(changes) || changes === 'end' ? changes : undefined
}

/** Returns whether the change was valid. */
function apply(feed: Feed, change: unknown, blocks: Map<unknown, Block>): boolean {
  if (!Array.isArray(change)) return false
  const [isLeader, shard, replica, memory, index, hadNamedFollower] = change as unknown[]
  if (typeof isLeader !== 'boolean' || !isName(shard)) return false
  if (replica !== undefined && !isName(replica)) return false
  const isAdded = change.length > 3
  const block = isAdded ? (blocks.get(memory) ?? openBlock(memory)) : undefined
  if (isAdded && !(block && isCellIndex(index))) return false
  if (block) blocks.set(memory, block)
  // Remove an existing entry first: an entry never changes its cell.
  if (isLeader) {
    feed.removeLeader(shard)
    if (block) feed.addLeader(shard, block, index as number, hadNamedFollower === true)
  } else {
    feed.removeFollower(feed.findFollower(shard, replica))
    if (block) feed.addFollower(shard, replica, block, index as number)
  }
  return true
}

function isName(value: unknown): value is string {
  return typeof value === 'string' && parseName(value) !== undefined
}

function openBlock(memory: unknown): Block | undefined {
  // By its tag and not by instanceof: it may be of another realm.
  const isShared = Object.prototype.toString.call(memory) === '[object SharedArrayBuffer]'
  if (!isShared || (memory as SharedArrayBuffer).byteLength !== BLOCK_BYTES) return undefined
  return new Block(memory as SharedArrayBuffer)
}

function reject(feeds: Feeds, message: unknown): void {
  const expected = 'a message from publish() of the same version of this package'
  feeds.rejected.reject(
    'message',
    () => `subscribe: expected ${expected}, got ${formatValue(message)}`,
  )
}

function checkPort(port: ThreadPort): void {
  // A Worker has no `close` event, so its followers would stay connected after its end.
  const isWorker = hasMethods(port, 'terminate')
  if (hasMethods(port, 'postMessage', 'on', 'unref') && !isWorker) return
  const expected = 'a MessagePort'
  throw isWorker
    ? new TypeError(`port: expected ${expected}, got a Worker`)
    : optionError('port', expected, port)
}
