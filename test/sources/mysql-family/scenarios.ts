import type { ReplicationSource } from 'opentelemetry-instrumentation-replication-lag'
import { onTestFinished } from 'vitest'
import type { Family } from '../../servers/mysql-family.mjs'
import { Servers } from '../../servers/servers.mjs'
import type { ConnectOptions, SystemKind } from '../../servers/system.js'
import { useStarted } from '../contract.js'
import { readShard, untilSeen as untilSeenOf } from '../shared/systems.js'

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

/** Reads what is seen of a follower. */
export async function seen(source: ReplicationSource, replica: string, shard = 'orders') {
  return (await readShard(source, shard)).seen[replica]
}

/** Waits until a source reports this of a follower. */
export function untilSeen(
  source: ReplicationSource,
  replica: string,
  expected: Parameters<typeof untilSeenOf>[3],
  shard = 'orders',
): Promise<void> {
  return untilSeenOf(source, shard, replica, expected)
}
