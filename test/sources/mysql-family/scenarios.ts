import type {
  FollowerReading,
  ReplicationReading,
  ReplicationSource,
} from 'opentelemetry-instrumentation-replication-lag'
import { expect, onTestFinished } from 'vitest'
import type { Family } from '../../servers/mysql-family.mjs'
import { Servers } from '../../servers/servers.mjs'
import type { ConnectOptions, SystemKind } from '../../servers/system.js'
import { eventually } from '../../support/eventually.js'
import { useStarted } from '../contract.js'

/** A leader, two followers, and sources of them. */
class Started {
  constructor(readonly system: Family) {}

  readonly connect = (options: ConnectOptions = {}): Promise<ReplicationSource> =>
    sourceFor(this.system, options)
}

/** Creates a source whose clients are closed when the test ends. */
export async function sourceFor(
  system: Family,
  options: ConnectOptions = {},
): Promise<ReplicationSource> {
  const connected = await system.connect(options)
  onTestFinished(() => connected.close())
  return connected.source
}

async function start(kind: SystemKind, servers: Servers): Promise<Started> {
  const system: unknown = await kind.start(servers)
  return new Started(system as Family)
}

/** Starts servers for the tests of a file. Each test leaves them as they were. */
export function useFamily(kind: SystemKind): () => Started {
  return useStarted((servers) => start(kind, servers))
}

/** Starts servers for one test, which need not leave them as they were. */
export async function startForTest(kind: SystemKind): Promise<Started> {
  const servers = await Servers.create()
  onTestFinished(() => servers.stop())
  return start(kind, servers)
}

export function read(source: ReplicationSource): Promise<ReplicationReading> {
  return source.read(AbortSignal.timeout(10_000))
}

/** A follower of a shard, with its lags, as far as they are known. */
export function seen({ shards }: ReplicationReading, replica: string, shard = 'orders') {
  const row = shards.find((each) => each.shard === shard)
  const follower = row?.followers.find((each) => each.replica === replica)
  if (!row || !follower) throw new Error(`${replica} of ${shard} is not in the reading`)
  const { connected, diverged, problem, appliedSeqno, receivedSeqno, comparedWith } = follower
  const { leaderSeqno = 0 } = comparedWith ?? row
  const behind = (seqno: FollowerReading['appliedSeqno']) =>
    seqno === undefined ? undefined : Number(BigInt(leaderSeqno) - BigInt(seqno))
  const lags = { lag: behind(appliedSeqno), receiveLag: behind(receivedSeqno) }
  return { connected, diverged, problem, ...lags }
}

/** Waits until a source reports this of a follower. */
export function untilSeen(
  source: ReplicationSource,
  replica: string,
  expected: Partial<ReturnType<typeof seen>>,
  shard?: string,
): Promise<void> {
  return eventually(async () => {
    const normal = { connected: true, diverged: undefined, problem: undefined }
    expect(seen(await read(source), replica, shard)).toEqual(
      expect.objectContaining({ ...normal, ...expected }),
    )
  })
}
