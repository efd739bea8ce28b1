import { ReplicationLagGauge } from 'opentelemetry-instrumentation-replication-lag'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Follower } from '../src/follower-map.js'
import { SeqnoSlab } from '../src/seqno-slab.js'
import { interrupt } from './support/interrupt.js'
import { networks, type PeerChannel } from './support/simulated-channel.js'

vi.mock('../src/peer-channel.js', () => import('./support/simulated-channel.js'))
vi.mock('node:crypto', () => ({ randomUUID: () => String(nextId++) }))

/** Ids rise, so of two registers for one follower the one that was added first wins. */
let nextId = 100

// Threads are gauges of one thread here, and hear of each other when the test says so.
let one: ReplicationLagGauge
let two: ReplicationLagGauge
let three: ReplicationLagGauge
let four: ReplicationLagGauge
const channels = new Map<ReplicationLagGauge, PeerChannel[]>()
beforeEach(() => {
  networks.clear()
  channels.clear()
  one = new ReplicationLagGauge()
  const shared = one.share()
  two = started(ReplicationLagGauge.attach(shared))
  three = started(ReplicationLagGauge.attach(shared))
  four = started(ReplicationLagGauge.attach(shared))
  started(one, 0)
  deliverAll()
  hear(one, two, three, four)
})
afterEach(() => {
  vi.restoreAllMocks()
})

function started(gauge: ReplicationLagGauge, thread = -1): ReplicationLagGauge {
  channels.set(
    gauge,
    [...networks.values()].flatMap((network) => network.at(thread) ?? []),
  )
  return gauge
}

/** All that was sent arrives. */
function deliverAll(): void {
  for (const channel of [...networks.values()].flat()) channel.deliverAll()
}

/** What one has sent to another arrives. */
function deliver(from: ReplicationLagGauge, to: ReplicationLagGauge): void {
  const [senders, receivers] = [channelsOf(from), channelsOf(to)]
  for (const [index, sender] of senders.entries()) while (receivers[index]?.deliver(sender));
}

function channelsOf(gauge: ReplicationLagGauge): PeerChannel[] {
  return channels.get(gauge) ?? []
}

function hear(...gauges: ReplicationLagGauge[]): void {
  for (const gauge of gauges) gauge.collectMetrics()
}

/** What each thread knows of the follower of shard `a`; `undefined` where it is unknown. */
function applied(...gauges: ReplicationLagGauge[]): (bigint | undefined)[] {
  return gauges.map((gauge) => {
    const seqnos: bigint[] = []
    gauge.forEachApplied(({ shard }, seqno) => shard === 'a' && seqnos.push(seqno))
    return seqnos[0]
  })
}

/** Two adds the follower while it cannot know that one just did. */
function addAtTheSameTime(): void {
  one.updateAppliedSeqno('a', 5)
  two.updateAppliedSeqno('a', 7)
}

describe('a follower that two threads added at the same time', () => {
  it('is one follower, with the higher seqno', () => {
    addAtTheSameTime()
    deliverAll()
    hear(one, two, three)
    expect(applied(one, two, three)).toEqual([7n, 7n, 7n])
    one.updateAppliedSeqno('a', 6)
    expect(applied(one, two, three)).toEqual([6n, 6n, 6n])
  })

  it('keeps a seqno of 0', () => {
    one.applied('a')
    two.updateAppliedSeqno('a', 0)
    deliverAll()
    hear(one, two, three)
    expect(applied(one, two, three)).toEqual([0n, 0n, 0n])
  })

  it('is known by all its handles', () => {
    const handles = [one.applied('a'), two.applied('a')]
    deliverAll()
    hear(three)
    handles.push(three.applied('a'))
    for (const [seqno, handle] of handles.entries()) {
      handle.store(seqno)
      expect(applied(one, two, three)).toEqual(Array(3).fill(BigInt(seqno)))
      expect(handles.map((other) => other.load())).toEqual(Array(3).fill(BigInt(seqno)))
    }
  })

  it('takes what a thread stores that knows only the register that lost', () => {
    addAtTheSameTime()
    deliver(two, three)
    const handle = three.applied('a')
    deliver(one, two)
    hear(two)
    deliver(two, three)
    // Three has not heard of one, that added the register that won; but two has told.
    handle.store(9)
    expect(applied(one, three)).toEqual([9n, 9n])
  })

  it('is read by a thread that knows only the register that lost', () => {
    addAtTheSameTime()
    deliver(two, three)
    const handle = three.applied('a')
    deliver(one, two)
    hear(two)
    deliver(two, three)
    expect(handle.load()).toBe(7n)
  })

  it('takes what is stored while the register loses', () => {
    addAtTheSameTime()
    deliver(two, three)
    interrupt(SeqnoSlab.prototype, 'store', () => {
      deliver(one, two)
      hear(two)
      deliver(two, three)
    })
    three.updateAppliedSeqno('a', 9)
    expect(applied(one, two, three)).toEqual([9n, 9n, 9n])
  })

  it('takes what is stored at the very moment in which the register loses', () => {
    addAtTheSameTime()
    deliver(two, three)
    const handle = three.applied('a')
    interrupt(Atomics, 'store', () => {
      deliver(one, two)
      hear(two)
      deliver(two, three)
    })
    handle.store(9)
    expect(applied(one, two, three)).toEqual([9n, 9n, 9n])
  })

  it('keeps its handles when its register loses during a collection', () => {
    addAtTheSameTime()
    deliver(two, three)
    const handle = three.applied('a')
    three.updateLeaderSeqno('a', 9)
    interrupt(SeqnoSlab.prototype, 'load', () => {
      deliver(one, two)
      hear(two)
      deliver(two, three)
    })
    hear(three)
    handle.store(8)
    expect(applied(one)).toEqual([8n])
  })

  it('is in the collection during which its register loses', () => {
    addAtTheSameTime()
    deliver(two, three)
    three.updateLeaderSeqno('a', 9)
    interrupt(SeqnoSlab.prototype, 'load', () => {
      deliver(one, two)
      hear(two)
      deliver(two, three)
    })
    expect(three.collectMetrics()).toEqual([
      { shard: 'a', lagSeqno: 2, leaderSeqno: 9n, appliedSeqno: 7n },
    ])
  })

  it('is in the collection during which the register of its leader loses', () => {
    three.updateAppliedSeqno('a', 4)
    one.updateLeaderSeqno('a', 5)
    two.updateLeaderSeqno('a', 7)
    deliver(two, three)
    interrupt(Follower.prototype, 'load', () => {
      deliver(one, two)
      hear(two)
      deliver(two, three)
    })
    expect(three.collectMetrics()).toMatchObject([{ lagSeqno: 3, leaderSeqno: 7n }])
  })

  it('takes what was stored in the register that lost, though its thread has ended', () => {
    addAtTheSameTime()
    deliver(two, one)
    hear(one)
    deliver(two, three)
    three.updateAppliedSeqno('a', 9)
    for (const channel of channelsOf(two)) channel.close()
    deliver(one, three)
    hear(three)
    expect(applied(one, three)).toEqual([9n, 9n])
  })

  it('is still there when one of them removes what it added, and cannot know of the other', () => {
    addAtTheSameTime()
    deliver(one, three)
    deliver(two, three)
    hear(three)
    one.remove('a')
    deliver(one, three)
    hear(three)
    expect(applied(three)).toEqual([7n])
    deliverAll()
    hear(one, two)
    expect(applied(one, two, three)).toEqual([7n, 7n, 7n])
  })

  it('is gone when a thread removes it that knows of both', () => {
    addAtTheSameTime()
    deliver(one, three)
    deliver(two, three)
    expect(three.remove('a')).toBe(true)
    deliverAll()
    hear(one, two)
    expect(applied(one, two, three)).toEqual([undefined, undefined, undefined])
  })

  it('is shared as one', () => {
    addAtTheSameTime()
    deliver(two, three)
    deliver(one, three)
    hear(three)
    expect(three.share().followers.members.shards).toEqual(['a', 'a'])
    deliverAll()
    hear(two)
    deliverAll()
    hear(three)
    expect(three.share().followers.members.shards).toEqual(['a'])
  })

  it.each([1, 2, 3])('may have been added by three, heard of in whichever order', (first) => {
    addAtTheSameTime()
    three.updateAppliedSeqno('a', 8)
    const threads = [one, two, three]
    for (let n = 0; n < 3; n++) deliver(threads[(first + n) % 3] ?? one, four)
    hear(four)
    // Four has two more to choose from when one removes the register that has won.
    one.remove('a')
    deliver(one, four)
    hear(four)
    two.updateAppliedSeqno('a', 20)
    expect(applied(four)).toEqual([20n])
    deliverAll()
    hear(one, two, three, four)
    deliverAll()
    expect(applied(one, two, three, four)).toEqual([20n, 20n, 20n, 20n])
  })
})

describe('a follower that another thread removes', () => {
  beforeEach(() => {
    one.updateAppliedSeqno('a', 5)
    deliverAll()
    hear(two, three)
  })

  it('is added anew by an update that comes at the same moment', () => {
    interrupt(Atomics, 'store', () => {
      three.remove('a')
      deliverAll()
    })
    two.updateAppliedSeqno('a', 9)
    deliverAll()
    hear(one, three)
    expect(applied(one, two, three)).toEqual([9n, 9n, 9n])
  })

  it('is not added anew by a handle', () => {
    const handle = two.applied('a')
    interrupt(Atomics, 'store', () => {
      three.remove('a')
      deliverAll()
    })
    handle.store(9)
    expect(handle.load()).toBe(0n)
    expect(applied(one, two, three)).toEqual([undefined, undefined, undefined])
  })

  it('is not reported by a collection that is under way', () => {
    one.updateLeaderSeqno('a', 9)
    deliverAll()
    interrupt(SeqnoSlab.prototype, 'load', () => {
      three.remove('a')
      deliverAll()
    })
    expect(two.collectMetrics()).toEqual([])
  })

  it('is reported when it was added anew, also to a thread that hears of that first', () => {
    one.remove('a')
    deliver(one, three)
    three.updateAppliedSeqno('a', 9)
    deliver(three, two)
    expect(applied(two)).toEqual([9n])
    deliverAll()
    expect(applied(one, two, three)).toEqual([9n, 9n, 9n])
  })

  it('does not take its register from the follower that has it next', () => {
    vi.spyOn(performance, 'now').mockReturnValue(0)
    interrupt(SeqnoSlab.prototype, 'kill', () => {
      // Three has told one, and comes to kill the register only after one has handed it out again.
      deliverAll()
      hear(one)
      vi.spyOn(performance, 'now').mockReturnValue(1000)
      one.updateAppliedSeqno('next', 1)
    })
    three.remove('a', undefined)
    expect(one.share().followers.members.indexes).toEqual([0])
    one.updateLeaderSeqno('next', 3)
    expect(one.lagSeqno('next')).toBe(2)
  })
})

describe('a removal that arrives before what it removes', () => {
  /** Two hears that three removes what one has added, then of that; only then is it done. */
  function removeBeforeAdded(add: () => void): void {
    add()
    deliver(one, three)
    hear(three)
    interrupt(SeqnoSlab.prototype, 'kill', () => {
      deliver(three, two)
      hear(two)
      deliver(one, two)
      hear(two)
    })
    three.remove('a')
    deliverAll()
  }

  it('leaves no follower', () => {
    removeBeforeAdded(() => one.updateAppliedSeqno('a', 5))
    expect(applied(two)).toEqual([undefined])
    expect(two.lagSeqno('a')).toBe(0)
    two.setWithheld('a', undefined, true)
    two.updateLeaderSeqno('a', 9)
    // By the second collection at the latest.
    hear(two)
    expect(two.collectMetrics()).toEqual([{ shard: 'a', lagSeqno: 9, leaderSeqno: 9n }])
  })

  it('leaves no leader', () => {
    removeBeforeAdded(() => one.updateLeaderSeqno('a', 5))
    expect(two.lagSeqno('a')).toBe(0)
    expect(two.collectMetrics()).toEqual([])
    expect(two.share().leaders.members.shards).toEqual([])
  })

  it.each([
    ['an update', () => two.updateAppliedSeqno('a', 9)],
    ['a handle', () => two.applied('a').store(9)],
  ])('does not keep %s from adding it anew', (_, update) => {
    removeBeforeAdded(() => one.updateAppliedSeqno('a', 5))
    update()
    deliverAll()
    hear(one, two, three)
    expect(applied(one, two, three)).toEqual([9n, 9n, 9n])
  })
})
