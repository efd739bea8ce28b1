import { followerId, type FollowerId } from './follower.js'
import type { ShardFollowers } from './follower-map.js'
import { Member, type MemberMap } from './member.js'
import type { Place } from './seqno-register.js'

/** A shard's leader. */
export class Leader extends Member {
  readonly shard: string
  /** The state's record of the shard, kept so that a collection needs no look-up. */
  followers: ShardFollowers | undefined = undefined
  /** Its index among the samples; -1 before the first. */
  sample = -1
  /** Whether its positions come from a source, so that they are news when it was polled, and at no other time. */
  isPolled = false
  #id: FollowerId | undefined

  constructor(shard: string, place: Place) {
    super(place)
    this.shard = shard
  }

  /** Also that of the follower which is reported while the leader alone is known. */
  override get id(): FollowerId {
    return (this.#id ??= followerId(this.shard, undefined))
  }
}

/** The leaders of one gauge, by shard. */
export class LeaderMap implements MemberMap<Leader> {
  readonly #leaders = new Map<string, Leader>()
  readonly #onDelete: (leader: Leader) => void
  /** Those that other threads have added since the last collection began … */
  #heard = new Set<Leader>()
  /** … and before that, since the one before. */
  #heardBefore = new Set<Leader>()

  /** @param onDelete called with a leader that is no more, whichever thread has removed it. */
  constructor(onDelete: (leader: Leader) => void) {
    this.#onDelete = onDelete
  }

  get(shard: string): Leader | undefined {
    return this.#leaders.get(shard)
  }

  find({ shard }: FollowerId): Leader | undefined {
    return this.#leaders.get(shard)
  }

  add({ shard }: FollowerId, place: Place): Leader {
    const leader = new Leader(shard, place)
    this.#leaders.set(shard, leader)
    return leader
  }

  onHeard(leader: Leader): void {
    this.#heard.add(leader)
  }

  /** What is news when a collection begins, or becomes it meanwhile, is none any more at the next. */
  beginCollection(): void {
    this.#heardBefore = this.#heard
    if (this.#heard.size > 0) this.#heard = new Set()
  }

  /** Whether another thread has added it just now, and may be about to add its followers. */
  isNews(leader: Leader): boolean {
    return this.#heardBefore.has(leader) || this.#heard.has(leader)
  }

  delete(leader: Leader): void {
    this.#leaders.delete(leader.shard)
    this.#heard.delete(leader)
    this.#heardBefore.delete(leader)
    this.#onDelete(leader)
  }

  [Symbol.iterator](): Iterator<Leader> {
    return this.#leaders.values()
  }
}
