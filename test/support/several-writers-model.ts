import type {
  ReplicationReading,
  ShardReading,
} from 'opentelemetry-instrumentation-replication-lag'

// The rules of the lag map when several writers report the same shards, written down as plainly as possible.

/** A source's reading is fresh for three intervals of 5 s and one timeout of 5 s. */
const FRESH_MILLIS = 20_000
export const RETENTION_MILLIS = 10_000
const LONE_MILLIS = 1000

/** A leader or a follower, as one writer knows it. Without a seqno, nothing was stored yet. */
export interface Entry {
  seqno?: bigint | undefined
  /** Of a leader. */
  epoch?: string | undefined
  /** Of a follower. */
  connected?: boolean
  keepUntil?: number
}

/** The name of a follower: `a` is the unnamed one of shard a, `a/r1` a named one. */
export const followerKey = (shard: string, replica?: string) =>
  replica === undefined ? shard : `${shard}/${replica}`
const shardOf = (key: string) => key.split('/')[0] as string
const isNamed = (key: string) => key.includes('/')

/** What one writer has said. */
export class Book {
  freshUntil = Infinity
  readAt = Infinity
  isClosed = false
  keepUntil = Infinity

  constructor(
    readonly writer: 'application' | 'source' | 'thread',
    public leaders = new Map<string, Entry>(),
    public followers = new Map<string, Entry>(),
  ) {
    if (writer === 'source') this.freshUntil = -Infinity
  }

  leader(shard: string): Entry {
    return findOrAdd(this.leaders, shard)
  }

  follower(key: string): Entry {
    return findOrAdd(this.followers, key)
  }

  removeShard(shard: string): void {
    this.leaders.delete(shard)
    for (const key of this.followersOf(shard)) this.followers.delete(key)
  }

  followersOf(shard: string): string[] {
    return [...this.followers.keys()].filter((key) => shardOf(key) === shard)
  }

  /** A reading replaces what its source said before. */
  apply({ shards, complete = false }: ReplicationReading, now: number): void {
    this.forgetExpired(now)
    const inReading = new Set(shards.flatMap((row) => this.applyShard(row)))
    for (const [key, follower] of this.followers) {
      if (inReading.has(key)) continue
      if (complete) this.followers.delete(key)
      follower.connected = false
      follower.keepUntil ??= now + RETENTION_MILLIS
    }
    this.forgetExpired(now)
    for (const shard of this.leaders.keys()) {
      const isInReading = shards.some((row) => row.shard === shard)
      if (!isInReading && this.followersOf(shard).length === 0) this.leaders.delete(shard)
    }
    this.freshUntil = now + FRESH_MILLIS
    this.readAt = now
  }

  private applyShard({ shard, epoch, leaderSeqno, followers, removed }: ShardReading): string[] {
    const name = String(shard)
    // Positions of two histories are not comparable.
    if (this.leaders.get(name)?.epoch !== epoch) this.removeShard(name)
    this.leaders.set(name, { seqno: BigInt(leaderSeqno ?? 0), epoch })
    for (const replica of removed ?? []) this.followers.delete(`${name}/${replica}`)
    return followers.map(({ replica, appliedSeqno, connected = true }) => {
      const key = followerKey(name, replica as string | undefined)
      const seqno = appliedSeqno === undefined ? this.follower(key).seqno : BigInt(appliedSeqno)
      this.followers.set(key, { seqno, connected })
      return key
    })
  }

  private forgetExpired(now: number): void {
    for (const key of this.followers.keys()) if (!this.has(key, now)) this.followers.delete(key)
  }

  /** Whether it has a follower whose retention time is not over. */
  has(key: string, now: number): boolean {
    const follower = this.followers.get(key)
    return follower !== undefined && (follower.keepUntil ?? Infinity) > now
  }

  isConnected(key: string): boolean {
    return this.followers.get(key)?.connected ?? !this.isClosed
  }
}

/** Of the entries that two closed books have, the newer one is kept if it has a position, else the older one. */
function keepOne(newer: Map<string, Entry>, older: Map<string, Entry>): void {
  for (const [name, { seqno }] of newer) {
    if (older.has(name)) (seqno === undefined ? newer : older).delete(name)
  }
}

function findOrAdd(entries: Map<string, Entry>, name: string): Entry {
  const entry = entries.get(name) ?? {}
  entries.set(name, entry)
  return entry
}

/** One follower as a gauge reports it. */
export interface Reported {
  readonly lagSeqno: number
  readonly connected: boolean | undefined
  readonly leaderSeqno: bigint
  readonly appliedSeqno: bigint | undefined
}

/** One gauge: the books of all its writers, and how to choose between them. */
export class Model {
  readonly application = new Book('application')
  /** In the order in which they were added. */
  readonly books: Book[] = [this.application]
  /** Leaders of shards that had a named follower since they were added. */
  private readonly hadNamed = new Set<Entry>()
  /** Since when leaders have had no follower in any book. */
  private readonly loneSince = new Map<Entry, number>()

  add(book: Book): Book {
    this.books.push(book)
    return book
  }

  remove(book: Book): void {
    this.books.splice(this.books.indexOf(book), 1)
    for (const leader of book.leaders.values()) {
      this.hadNamed.delete(leader)
      this.loneSince.delete(leader)
    }
  }

  /** Another gauge's application publishes to a book of this one. Positions are shared, so the entries are the same. */
  subscribe(book: Book, { application, hadNamed }: Model): void {
    book.leaders = application.leaders
    book.followers = application.followers
    for (const leader of book.leaders.values()) if (hadNamed.has(leader)) this.hadNamed.add(leader)
  }

  close(book: Book, now: number): void {
    book.isClosed = true
    book.readAt = now
    book.keepUntil = now + RETENTION_MILLIS
    book.leaders = new Map(book.leaders)
    book.followers = new Map(book.followers)
    for (const other of this.books.filter(({ isClosed }) => isClosed)) {
      if (other === book) continue
      keepOne(book.leaders, other.leaders)
      keepOne(book.followers, other.followers)
    }
    for (const each of [...this.books]) {
      if (each.isClosed && each.leaders.size + each.followers.size === 0) this.remove(each)
    }
  }

  /** Call it after each change, and when time has passed. */
  update(now: number): void {
    for (const book of [...this.books]) if (book.keepUntil <= now) this.remove(book)
    for (const { writer, leaders } of this.books) {
      for (const [shard, leader] of writer === 'source' ? [] : leaders) {
        const followers = this.books.flatMap((book) => book.followersOf(shard))
        if (followers.some(isNamed)) this.hadNamed.add(leader)
        if (followers.length > 0 || this.hadNamed.has(leader)) this.loneSince.delete(leader)
        else if (!this.loneSince.has(leader)) this.loneSince.set(leader, now)
      }
    }
  }

  /** What is reported of each follower. */
  collect(now: number): Map<string, Reported> {
    const reported = new Map<string, Reported>()
    for (const key of this.keys()) {
      const book = this.bookOf(key, now)
      const lag = book && book.freshUntil >= now ? this.lagIn(book, key, now) : undefined
      if (lag) reported.set(key, lag)
    }
    for (const [shard, leaderSeqno] of this.loneLeaders(now)) {
      const lagSeqno = Number(leaderSeqno)
      reported.set(shard, { lagSeqno, connected: undefined, leaderSeqno, appliedSeqno: undefined })
    }
    return reported
  }

  /** The lag of a follower, even if it or its leader is stale; 0 if it is not known. */
  lagSeqno(key: string, now: number): number {
    const book = this.bookOf(key, now)
    if (book) return (this.lagIn(book, key, now) ?? this.lagIn(book, key, -Infinity))?.lagSeqno ?? 0
    return Number(this.loneLeaders(now).get(key) ?? 0n)
  }

  /** Which followers of sources and other threads are connected. */
  connections(now: number): Map<string, boolean> {
    const connections = new Map<string, boolean>()
    for (const key of this.keys()) {
      const book = this.bookOf(key, now)
      if (!book || book.freshUntil < now || book === this.application) continue
      connections.set(key, book.isConnected(key))
    }
    return connections
  }

  /** The leader seqno of each shard. */
  leaders(now: number): Map<string, bigint> {
    const fresh = this.books.filter(({ freshUntil }) => freshUntil >= now)
    const shards = new Set(fresh.flatMap(({ leaders }) => [...leaders.keys()]))
    return new Map(
      [...shards].flatMap((shard) => {
        const seqno = this.leaderOfShard(shard, now)?.seqno
        return seqno === undefined ? [] : [[shard, seqno] as const]
      }),
    )
  }

  private keys(): Set<string> {
    return new Set(this.books.flatMap(({ followers }) => [...followers.keys()]))
  }

  /** The book that is to be believed about a follower. */
  private bookOf(key: string, now: number): Book | undefined {
    const rank = (book: Book) => [
      Number(book.freshUntil >= now),
      Number(book.followers.get(key)?.seqno !== undefined),
      Number(book === this.application),
      Number(book.isConnected(key)),
      book.readAt,
      this.books.indexOf(book),
    ]
    const known = this.books.filter((book) => book.has(key, now))
    return known.sort((a, b) => compareRanks(rank(a), rank(b))).at(-1)
  }

  private lagIn(book: Book, key: string, now: number): Reported | undefined {
    const own = book.leaders.get(shardOf(key))
    const isOwn = own?.seqno !== undefined && !book.isClosed
    const leader = isOwn ? own : this.leaderOfShard(shardOf(key), now)
    const appliedSeqno = book.followers.get(key)?.seqno
    if (leader?.seqno === undefined) return undefined
    if (book.writer === 'source' && appliedSeqno === undefined) return undefined
    return {
      lagSeqno: Number(leader.seqno - (appliedSeqno ?? 0n)),
      connected: book === this.application ? undefined : book.isConnected(key),
      leaderSeqno: leader.seqno,
      appliedSeqno,
    }
  }

  /** The application's leader, else the one of the open book that was read last, else that of a closed one. */
  private leaderOfShard(shard: string, now: number): Entry | undefined {
    const rank = (book: Book) => [
      Number(book === this.application),
      Number(!book.isClosed),
      book.readAt,
      this.books.indexOf(book),
    ]
    return this.books
      .filter(
        ({ leaders, freshUntil }) => freshUntil >= now && leaders.get(shard)?.seqno !== undefined,
      )
      .sort((a, b) => compareRanks(rank(a), rank(b)))
      .at(-1)
      ?.leaders.get(shard)
  }

  /** Leaders that count as one unnamed follower that has applied nothing. */
  private loneLeaders(now: number): Map<string, bigint> {
    const lone = new Map<string, bigint>()
    for (const { writer, isClosed, leaders } of this.books) {
      for (const [shard, leader] of isClosed ? [] : leaders) {
        const since = this.loneSince.get(leader)
        if (since === undefined || this.leaderOfShard(shard, now) !== leader) continue
        if (writer === 'thread' && now - since < LONE_MILLIS) continue
        lone.set(shard, leader.seqno as bigint)
      }
    }
    return lone
  }
}

/** Compares the first number that differs. */
function compareRanks(a: readonly number[], b: readonly number[]): number {
  const index = a.findIndex((value, index) => value !== b[index])
  return index < 0 ? 0 : (a[index] as number) < (b[index] as number) ? -1 : 1
}
