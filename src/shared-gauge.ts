import { isPackedMembers } from './packed-members.js'
import type { SharedMembers } from './peers.js'
import { isSlabMemory, LAYOUT, openShared, type Shared } from './shared-layout.js'

/** What {@link ReplicationLagGauge.share} gives and {@link ReplicationLagGauge.attach} takes. */
export interface SharedReplicationLagGauge extends Shared {
  readonly kind: 'ReplicationLagGauge'
  /** @internal Shared memory in any case: where this arrives as such, the rest does. */
  readonly memory: SharedArrayBuffer
  /** @internal */
  readonly leaders: SharedMembers
  /** @internal */
  readonly followers: SharedMembers
}

export function sharedGauge(
  leaders: SharedMembers,
  followers: SharedMembers,
): SharedReplicationLagGauge {
  const memory = new SharedArrayBuffer(0)
  return { kind: 'ReplicationLagGauge', layout: LAYOUT, memory, leaders, followers }
}

/** @throws TypeError if it is no shared gauge, has another layout, or the process has no shared memory. */
export function openSharedGauge(shared: unknown): {
  leaders: SharedMembers
  followers: SharedMembers
} {
  return openShared<
    SharedReplicationLagGauge,
    { leaders: SharedMembers; followers: SharedMembers }
  >(shared, 'ReplicationLagGauge', ({ memory, leaders, followers }) =>
    isSlabMemory(memory) && isSharedMembers(leaders) && isSharedMembers(followers)
      ? { leaders, followers }
      : undefined,
  )
}

function isSharedMembers(shared: SharedMembers | undefined): shared is SharedMembers {
  return typeof shared?.channel === 'string' && isPackedMembers(shared.members)
}
