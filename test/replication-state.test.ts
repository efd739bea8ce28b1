import { ReplicationState } from 'opentelemetry-instrumentation-replication-lag'
import { describe, expect, it } from 'vitest'

describe('ReplicationState', () => {
  it('knows nothing of a follower that was never seen', () => {
    const state = new ReplicationState()
    expect(state.appliedSeqno('a')).toBeUndefined()
    expect(state.appliedSeqno('a', 'r1')).toBeUndefined()
  })

  it('holds one applied seqno per shard and replica', () => {
    const state = new ReplicationState()
    state.setAppliedSeqno('a', 1n)
    state.setAppliedSeqno('b', 2n, 'r1')
    state.setAppliedSeqno('b', 3n, 'r2')
    expect(state.appliedSeqno('a')).toBe(1n)
    expect(state.appliedSeqno('b')).toBeUndefined()
    expect(state.appliedSeqno('b', 'r1')).toBe(2n)
    expect(state.appliedSeqno('b', 'r2')).toBe(3n)
  })

  it('takes a lower seqno than before, since a follower may be rebuilt', () => {
    const state = new ReplicationState()
    state.setAppliedSeqno('a', 9)
    state.setAppliedSeqno('a', 4)
    expect(state.appliedSeqno('a')).toBe(4n)
  })

  it('takes 7 and "7" for one shard and for one replica', () => {
    const state = new ReplicationState()
    state.setAppliedSeqno(7, 1, 3)
    expect(state.appliedSeqno('7', '3')).toBe(1n)
    state.applied('7', '3').store(2)
    expect(state.appliedSeqno(7, 3)).toBe(2n)
    expect(state.remove(7, '3')).toBe(true)
    expect(state.appliedSeqno('7', 3)).toBeUndefined()
  })

  it('has applied nothing yet through a handle that was not stored to', () => {
    const state = new ReplicationState()
    const handle = state.applied('a')
    expect(state.appliedSeqno('a')).toBeUndefined()
    handle.store(0)
    expect(state.appliedSeqno('a')).toBe(0n)
  })

  it('gives the same handle again while the follower is known', () => {
    const state = new ReplicationState()
    const handle = state.applied('a', 'r1')
    expect(state.applied('a', 'r1')).toBe(handle)
    state.remove('a')
    expect(state.applied('a', 'r1')).not.toBe(handle)
  })

  it('forgets one replica, or a whole shard, and says whether there was one', () => {
    const state = new ReplicationState()
    state.setAppliedSeqno('a', 1)
    state.setAppliedSeqno('a', 1, 'r1')
    state.setAppliedSeqno('a', 1, 'r2')
    expect(state.remove('a', 'r1')).toBe(true)
    expect(state.remove('a', 'r1')).toBe(false)
    expect(state.appliedSeqno('a', 'r2')).toBe(1n)
    expect(state.remove('a')).toBe(true)
    expect(state.remove('a')).toBe(false)
    expect(state.appliedSeqno('a')).toBeUndefined()
    expect(state.appliedSeqno('a', 'r2')).toBeUndefined()
  })

  it('has nothing for a handle of a removed follower, nor takes anything from it', () => {
    const state = new ReplicationState()
    const stale = state.applied('gone')
    stale.store(5)
    state.remove('gone')
    state.setAppliedSeqno('new', 1)
    stale.store(99)
    expect(stale.load()).toBe(0n)
    expect(state.appliedSeqno('new')).toBe(1n)
    expect(state.appliedSeqno('gone')).toBeUndefined()
  })

  it('does not show the seqno of a removed follower to one that takes over its register', () => {
    const state = new ReplicationState()
    state.setAppliedSeqno('gone', 5)
    state.remove('gone')
    state.applied('new')
    expect(state.appliedSeqno('new')).toBeUndefined()
  })

  it('holds more followers than fit into one slab', () => {
    const state = new ReplicationState()
    for (let shard = 0; shard < 2000; shard++) state.setAppliedSeqno(shard, shard)
    for (let shard = 0; shard < 2000; shard++) expect(state.appliedSeqno(shard)).toBe(BigInt(shard))
  })
})
