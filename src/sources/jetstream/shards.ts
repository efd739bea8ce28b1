import type { LeaderView } from './leaders.js'
import type { StreamView } from './view.js'

/** The default account, whose streams need no prefix. */
const DEFAULT_ACCOUNT = '$G'

/** Names the shards. Streams of several accounts can have the same name, and several accounts can. */
export class ShardNames {
  /** The ids of the accounts of each name. */
  private readonly ids = new Map<string, Set<string>>()

  /** @param isComplete whether these are all streams. Otherwise an account that is missing still exists. */
  update(streams: Iterable<StreamView>, isComplete: boolean): void {
    if (isComplete) this.ids.clear()
    for (const { account } of streams) this.idsOf(account.name).add(account.id)
  }

  /** Names of streams have no slash. An account that shares its name is named by its id. */
  of({ account: { id, name }, stream }: StreamView): string {
    if (id === DEFAULT_ACCOUNT) return stream
    return `${this.idsOf(name).size > 1 ? id : name}/${stream}`
  }

  private idsOf(name: string): Set<string> {
    const ids = this.ids.get(name) ?? new Set()
    this.ids.set(name, ids)
    return ids
  }
}

/** Names the histories of streams. One that is kept in memory can start again at 0, with the same date. */
export class Histories {
  private readonly last = new Map<string, { seqno: bigint; created: string; falls: number }>()

  /** Returns the epoch of a stream. It changes when the stream is created again, and when it has lost messages. */
  epochOf({ key, state: { created, lastSeq: seqno } }: LeaderView): string {
    const last = this.last.get(key)
    const isSame = last?.created === created
    const falls = isSame ? last.falls + Number(seqno < last.seqno) : 0
    this.last.set(key, { seqno, created, falls })
    return falls === 0 ? created : `${created}/${falls}`
  }

  /** Forgets all streams but these. */
  forgetOthers(streams: ReadonlyMap<string, unknown>): void {
    for (const key of this.last.keys()) if (!streams.has(key)) this.last.delete(key)
  }
}
