import { isSharedMembers, type SharedMembers } from './peers.js'
import { isSlabMemory, LAYOUT, notShared, openShared, type Shared } from './shared-layout.js'

/** What {@link ReplicationLagGauge.share} gives and {@link ReplicationLagGauge.attach} takes. */
export interface SharedReplicationLagGauge extends Shared {
  /** @internal Shared memory in any case: where this arrives as such, the rest does. */
  readonly memory: SharedArrayBuffer
  /** @internal */
  readonly leaders: SharedMembers
  /** @internal */
  readonly followers: SharedMembers
}

const GIVER = 'ReplicationLagGauge.share()'

export function sharedGauge(
  leaders: SharedMembers,
  followers: SharedMembers,
): SharedReplicationLagGauge {
  return { layout: LAYOUT, memory: new SharedArrayBuffer(0), leaders, followers }
}

/** @throws TypeError if it is no shared gauge, has another layout, or the process has no shared memory. */
export function openSharedGauge(shared: unknown): {
  leaders: SharedMembers
  followers: SharedMembers
} {
  const { memory, leaders, followers } = openShared<SharedReplicationLagGauge>(shared, GIVER)
  if (!isSlabMemory(memory) || !isSharedMembers(leaders) || !isSharedMembers(followers)) {
    throw notShared(shared, GIVER)
  }
  return { leaders, followers }
}
