import fc from 'fast-check'
import { ReplicationLagGauge } from 'opentelemetry-instrumentation-replication-lag'
import { expect, it } from 'vitest'

type Real = ReplicationLagGauge

/** The lag map as one would write it down on paper: two plain maps, and bigint arithmetic. */
class Model {
  readonly leaders = new Map<string, bigint>()
  readonly followers = new Map<string, Map<string | undefined, bigint | undefined>>()

  apply(shard: string, replica: string | undefined, seqno: bigint | undefined): void {
    const followers = this.followers.get(shard) ?? new Map<string | undefined, bigint | undefined>()
    this.followers.set(shard, followers.set(replica, seqno ?? followers.get(replica)))
  }

  lags(): Map<string, number> {
    const lags = new Map<string, number>()
    for (const [shard, leader] of this.leaders) {
      const followers = this.followers.get(shard) ?? new Map([[undefined, undefined]])
      for (const [replica, applied] of followers) {
        lags.set(key(shard, replica), saturate(leader - (applied ?? 0n)))
      }
    }
    return lags
  }
}

const LIMIT = 2n ** 53n - 1n
const saturate = (lag: bigint) => Number(lag > LIMIT ? LIMIT : lag < -LIMIT ? -LIMIT : lag)
const key = (shard: string, replica?: string) => JSON.stringify([shard, replica ?? null])

/** A command that changes both alike; afterwards they must agree on everything. */
abstract class Change implements fc.Command<Model, Real> {
  check(): boolean {
    return true
  }

  run(model: Model, real: Real): void {
    this.change(model, real)
    const lags = model.lags()
    const snapshot = real.collectMetrics()
    expect(snapshot).toHaveLength(lags.size)
    for (const { shard, replica, lagSeqno } of snapshot) {
      expect(lagSeqno).toBe(lags.get(key(shard, replica)))
      expect(real.lagSeqno(shard, replica)).toBe(lagSeqno)
    }
  }

  abstract change(model: Model, real: Real): void
}

const shard = fc.constantFrom('a', 'b', '7')
const replica = fc.constantFrom(undefined, 'r1', 'r2')
const seqno = fc.oneof(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.bigInt({ min: 0n, max: 9n }))

function command(text: string, change: (model: Model, real: Real) => void): Change {
  return new (class extends Change {
    override change = change
    override toString() {
      return text
    }
  })()
}

const commands = [
  fc.record({ shard, seqno, bound: fc.boolean() }).map(({ shard, seqno, bound }) =>
    command(`leader ${shard} ${seqno}${bound ? ' by handle' : ''}`, (model, real) => {
      model.leaders.set(shard, seqno)
      if (bound) real.leader(shard).store(seqno)
      else real.updateLeaderSeqno(shard === '7' ? 7 : shard, seqno)
    }),
  ),
  fc
    .record({ shard, replica, seqno, bound: fc.boolean() })
    .map(({ shard, replica, seqno, bound }) =>
      command(
        `applied ${shard} ${replica ?? ''} ${seqno}${bound ? ' by handle' : ''}`,
        (model, real) => {
          model.apply(shard, replica, seqno)
          if (bound) real.applied(shard, replica).store(seqno)
          else real.updateAppliedSeqno(shard === '7' ? 7 : shard, seqno, replica)
        },
      ),
    ),
  fc.record({ shard, replica }).map(({ shard, replica }) =>
    command(`declare ${shard} ${replica ?? ''}`, (model, real) => {
      model.apply(shard, replica, undefined)
      real.applied(shard, replica)
    }),
  ),
  fc.record({ shard, replica }).map(({ shard, replica }) =>
    command(`remove ${shard} ${replica ?? ''}`, (model, real) => {
      const followers = model.followers.get(shard)
      if (replica !== undefined) {
        expect(real.remove(shard, replica)).toBe(followers?.delete(replica) ?? false)
        return
      }
      const [leaderGone, followersGone] = [
        model.leaders.delete(shard),
        model.followers.delete(shard),
      ]
      expect(real.remove(shard)).toBe(leaderGone || followersGone)
    }),
  ),
]

it('agrees with a simple model after any sequence of updates and removals', () => {
  fc.assert(
    fc.property(fc.commands(commands, { maxCommands: 60 }), (sequence) => {
      fc.modelRun(() => ({ model: new Model(), real: new ReplicationLagGauge() }), sequence)
    }),
    { numRuns: 500 },
  )
})
