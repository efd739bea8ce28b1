import type {
  FollowerReading,
  ReplicationSource,
} from 'opentelemetry-instrumentation-replication-lag'
import { expect } from 'vitest'
import { eventually } from '../../support/eventually.js'

/** What a source reports of one follower, with its lag. */
export interface Seen extends Omit<FollowerReading, 'replica' | 'appliedSeqno' | 'receivedSeqno'> {
  readonly lag?: number | undefined
  readonly receiveLag?: number | undefined
}

/** Reads one shard: the leader, and what is seen of each follower. */
export async function readShard(source: ReplicationSource, shard: string) {
  const reading = await source.read(AbortSignal.timeout(10_000))
  const found = reading.shards.find((each) => each.shard === shard)
  if (!found) throw new Error(`the reading has no shard ${shard}`)
  const { leaderSeqno, followers } = found
  const lagOf = (seqno: FollowerReading['appliedSeqno']) =>
    seqno === undefined ? undefined : Number(BigInt(leaderSeqno ?? 0) - BigInt(seqno))
  const entries = followers.map(({ replica, appliedSeqno, receivedSeqno, ...rest }) => {
    const seen: Seen = { ...rest, lag: lagOf(appliedSeqno), receiveLag: lagOf(receivedSeqno) }
    return [String(replica), seen]
  })
  return {
    ...found,
    complete: reading.complete,
    seen: Object.fromEntries(entries) as Readonly<Record<string, Seen>>,
  }
}

/** Waits until a source reports a follower like this. */
export async function untilSeen(
  source: ReplicationSource,
  shard: string,
  replica: string,
  expected: Seen,
): Promise<void> {
  await eventually(async () => {
    const { seen } = await readShard(source, shard)
    expect(seen[replica]).toMatchObject(expected)
  })
}
