import fc from 'fast-check'
import {
  ReplicationLagGauge,
  ReplicationState,
  type AtomicSeqno,
} from 'opentelemetry-instrumentation-replication-lag'
import { expect, it } from 'vitest'

/** A position, and whether its entry was removed. */
interface Entry {
  seqno: bigint | undefined
  isRemoved: boolean
}

interface LeaderEntry extends Entry {
  hadNamedFollower: boolean
}

type Replica = string | undefined

/** Two lag maps that share what the followers have applied: plain maps, and arithmetic of bigints. */
class Model {
  readonly leaders = [new Map<string, LeaderEntry>(), new Map<string, LeaderEntry>()] as const
  readonly followers = new Map<string, Map<Replica, Entry>>()
  readonly handles: Entry[] = []
  rejected = 0

  leader(gauge: 0 | 1, shard: string): Entry {
    const leaders = this.leaders[gauge]
    const leader = leaders.get(shard) ?? {
      ...{ seqno: undefined, isRemoved: false, hadNamedFollower: false },
    }
    leaders.set(shard, leader)
    this.noteNames(shard)
    return leader
  }

  applied(shard: string, replica: Replica): Entry {
    const followers = this.followers.get(shard) ?? new Map<Replica, Entry>()
    const follower = followers.get(replica) ?? { seqno: undefined, isRemoved: false }
    this.followers.set(shard, followers.set(replica, follower))
    this.noteNames(shard)
    return follower
  }

  removeFollowers(shard: string, replica?: string): boolean {
    const followers = this.followers.get(shard) ?? new Map<Replica, Entry>()
    const removed = replica === undefined ? [...followers.keys()] : [replica]
    const had = removed.some((name) => followers.has(name))
    for (const name of removed) {
      const follower = followers.get(name)
      if (follower) follower.isRemoved = true
      followers.delete(name)
    }
    if (followers.size === 0) this.followers.delete(shard)
    return had
  }

  remove(gauge: 0 | 1, shard: string): boolean {
    const leader = this.leaders[gauge].get(shard)
    if (leader) leader.isRemoved = true
    this.leaders[gauge].delete(shard)
    return this.removeFollowers(shard) || leader !== undefined
  }

  /** The followers that a gauge reports, as `shard/replica: positions and lag`. */
  lags(gauge: 0 | 1): Record<string, unknown> {
    const lags: Record<string, unknown> = {}
    for (const [shard, { seqno, hadNamedFollower }] of this.leaders[gauge]) {
      const lone = hadNamedFollower ? [] : ([[undefined, { seqno: undefined }]] as const)
      for (const [replica, applied] of this.followers.get(shard) ?? lone) {
        if (seqno !== undefined) {
          lags[`${shard}/${replica ?? ''}`] = [
            seqno,
            applied.seqno,
            saturate(seqno - (applied.seqno ?? 0n)),
          ]
        }
      }
    }
    return lags
  }

  private noteNames(shard: string): void {
    const areNamed = [...(this.followers.get(shard)?.keys() ?? [])].some(
      (name) => name !== undefined,
    )
    for (const leaders of this.leaders) {
      const leader = leaders.get(shard)
      if (leader && areNamed) leader.hadNamedFollower = true
    }
  }
}

const LIMIT = 2n ** 53n - 1n
const saturate = (lag: bigint) => Number(lag > LIMIT ? LIMIT : lag < -LIMIT ? -LIMIT : lag)

interface Real {
  readonly state: ReplicationState
  readonly gauges: readonly [ReplicationLagGauge, ReplicationLagGauge]
  readonly handles: AtomicSeqno[]
}

/** Changes the model and the gauges alike. Then they must agree on everything. */
class Change implements fc.Command<Model, Real> {
  private readonly text: string
  private readonly change: (model: Model, real: Real) => void

  constructor(text: string, change: (model: Model, real: Real) => void) {
    this.text = text
    this.change = change
  }

  check(): boolean {
    return true
  }

  run(model: Model, real: Real): void {
    this.change(model, real)
    for (const index of [0, 1] as const) {
      const gauge = real.gauges[index]
      const lags = model.lags(index)
      const collected = gauge
        .collectMetrics()
        .map(({ shard, replica, lagSeqno }) => [
          `${shard}/${replica ?? ''}`,
          [gauge.leaderSeqno(shard), gauge.appliedSeqno(shard, replica), lagSeqno],
        ])
      expect(collected).toHaveLength(Object.keys(lags).length)
      expect(Object.fromEntries(collected)).toEqual(lags)
      for (const shard of SHARDS) {
        for (const replica of REPLICAS) {
          const [, , lag = 0] = (lags[`${shard}/${replica ?? ''}`] ?? []) as unknown[]
          expect(gauge.lagSeqno(shard, replica)).toBe(lag)
          expect(real.state.appliedSeqno(shard, replica)).toBe(
            model.followers.get(shard)?.get(replica)?.seqno,
          )
        }
      }
      expect(gauge.rejectedUpdates).toBe(model.rejected)
    }
  }

  toString(): string {
    return this.text
  }
}

const SHARDS = ['a', '7']
const REPLICAS = [undefined, 'r1', 'r2']
const which = fc.constantFrom(0 as const, 1 as const)
const shard = fc.constantFrom(...SHARDS)
const replica = fc.constantFrom(...REPLICAS)
const seqno = fc.oneof(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.bigInt({ min: 0n, max: 9n }))
const bad = fc.constantFrom(-1, 1.5, 2n ** 64n)

/** The same shard in another form. */
const id = (shard: string) => (shard === '7' ? 7 : shard)

const commands = [
  fc.record({ which, shard, seqno }).map(
    ({ which, shard, seqno }) =>
      new Change(`gauge ${which}: leader ${shard} at ${seqno}`, (model, { gauges }) => {
        model.leader(which, shard).seqno = seqno
        gauges[which].updateLeaderSeqno(id(shard), seqno)
      }),
  ),
  fc.record({ which, shard, replica, seqno }).map(
    ({ which, shard, replica, seqno }) =>
      new Change(`gauge ${which}: applied ${shard}/${replica} at ${seqno}`, (model, { gauges }) => {
        model.applied(shard, replica).seqno = seqno
        gauges[which].updateAppliedSeqno(id(shard), seqno, replica)
      }),
  ),
  fc.record({ which, shard }).map(
    ({ which, shard }) =>
      new Change(`gauge ${which}: handle of leader ${shard}`, (model, { gauges, handles }) => {
        model.handles.push(model.leader(which, shard))
        handles.push(gauges[which].leader(shard))
      }),
  ),
  fc.record({ shard, replica }).map(
    ({ shard, replica }) =>
      new Change(`handle of ${shard}/${replica}`, (model, { state, handles }) => {
        model.handles.push(model.applied(shard, replica))
        handles.push(state.applied(shard, replica))
      }),
  ),
  fc.record({ index: fc.nat(), seqno }).map(
    ({ index, seqno }) =>
      new Change(`handle ${index} at ${seqno}`, (model, { handles }) => {
        const entry = model.handles[index % model.handles.length]
        const handle = handles[index % handles.length]
        if (!entry || !handle) return
        expect(handle.store(seqno)).toBe(!entry.isRemoved)
        entry.seqno = seqno
      }),
  ),
  fc.record({ which, shard, replica, bad }).map(
    ({ which, shard, replica, bad }) =>
      new Change(`gauge ${which}: ${shard}/${replica} at ${bad}`, (model, { gauges }) => {
        model.rejected += 2
        gauges[which].updateLeaderSeqno(shard, bad)
        gauges[which].updateAppliedSeqno(shard, bad, replica)
      }),
  ),
  fc.record({ which, shard }).map(
    ({ which, shard }) =>
      new Change(`gauge ${which}: remove ${shard}`, (model, { gauges }) => {
        expect(gauges[which].remove(id(shard))).toBe(model.remove(which, shard))
      }),
  ),
  fc.record({ shard, replica }).map(
    ({ shard, replica }) =>
      new Change(`remove ${shard}/${replica}`, (model, { state, gauges }) => {
        const had = model.removeFollowers(shard, replica)
        if (replica === undefined) expect(state.remove(shard)).toBe(had)
        else expect(gauges[0].remove(id(shard), replica)).toBe(had)
      }),
  ),
]

it('two gauges that share a state agree with a simple model after any updates and removals', () => {
  fc.assert(
    fc.property(fc.commands(commands, { maxCommands: 60 }), (sequence) => {
      const setUp = () => {
        const state = new ReplicationState()
        const gauges = [new ReplicationLagGauge(state), new ReplicationLagGauge(state)] as const
        return { model: new Model(), real: { state, gauges, handles: [] } }
      }
      fc.modelRun(setUp, sequence)
    }),
    { numRuns: 200 },
  )
})
