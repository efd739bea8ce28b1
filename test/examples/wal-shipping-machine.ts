import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ReplicationLagGauge } from 'opentelemetry-instrumentation-replication-lag'
import { onTestFinished } from 'vitest'
import { Follower } from '../../docs/examples/wal-shipping/follower.mjs'
import { Leader } from '../../docs/examples/wal-shipping/leader.mjs'
import { ship, Transport } from '../../docs/examples/wal-shipping/shipping.mjs'

/** One machine. Its nodes can be opened again in the same folders. */
export async function createMachine(shard = 'orders') {
  const folder = await mkdtemp(join(tmpdir(), 'wal-shipping-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const gauge = new ReplicationLagGauge()
  return {
    gauge,
    leaderFolder: join(folder, 'leader'),
    openLeader: () => Leader.open(join(folder, 'leader'), gauge.leader(shard)),
    openFollower: (replica?: string) =>
      Follower.open(join(folder, `follower-${replica ?? ''}`), gauge.applied(shard, replica)),
  }
}

export interface Shipment {
  readonly after: bigint
  readonly ended: Promise<void>
}

export function createTransport(leader: Leader, shipments: Shipment[] = []) {
  const transport = new Transport((stream, after) => {
    shipments.push({ after, ended: ship(leader.log, stream, after) })
  })
  onTestFinished(() => transport.close())
  return transport
}

export async function append(leader: Leader, count: number) {
  for (let n = 0; n < count; n++) {
    await leader.append({ newest: `${leader.log.seqno + 1n}` })
  }
}

export function segmentFile(folder: string, seqno: number) {
  return join(folder, `${String(seqno).padStart(20, '0')}.segment`)
}
