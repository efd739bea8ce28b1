import type {
  FollowerReading,
  ReplicationReading,
  ReplicationSource,
} from 'opentelemetry-instrumentation-replication-lag'
import { expect } from 'vitest'
import { eventually } from '../../support/eventually.js'

export function read(source: ReplicationSource): Promise<ReplicationReading> {
  return source.read(AbortSignal.timeout(15_000))
}

/** What a source reports of one follower, with its lags as far as they are known. */
export interface Seen {
  readonly connected: boolean
  readonly diverged: boolean | undefined
  readonly problem: string | undefined
  readonly lag: number | undefined
  readonly receiveLag: number | undefined
}

/** Reads one shard: the leader, and what is seen of each follower. */
export async function readShard(source: ReplicationSource, shard: string) {
  const { shards, complete } = await read(source)
  const found = shards.find((each) => each.shard === shard)
  if (!found) throw new Error(`the reading has no shard ${shard}`)
  const entries = found.followers.map((each) => [String(each.replica), seenOf(each)] as const)
  return { ...found, complete, seen: Object.fromEntries(entries) as Record<string, Seen> }

  function seenOf(follower: FollowerReading): Seen {
    const { connected = true, diverged, problem, appliedSeqno, receivedSeqno } = follower
    const { leaderSeqno = 0 } = follower.comparedWith ?? found ?? {}
    const behind = (seqno: FollowerReading['appliedSeqno']) =>
      seqno === undefined ? undefined : Number(BigInt(leaderSeqno) - BigInt(seqno))
    const lags = { lag: behind(appliedSeqno), receiveLag: behind(receivedSeqno) }
    return { connected, diverged, problem, ...lags }
  }
}

/** Waits until a source reports this of a follower. It is connected and has no problem unless that is expected. */
export async function untilSeen(
  source: ReplicationSource,
  shard: string,
  replica: string,
  expected: { [Name in keyof Seen]?: unknown },
): Promise<void> {
  const normal = { connected: true, diverged: undefined, problem: undefined }
  await eventually(async () => {
    const { seen } = await readShard(source, shard)
    expect(seen[replica]).toEqual(expect.objectContaining({ ...normal, ...expected }))
  })
}
