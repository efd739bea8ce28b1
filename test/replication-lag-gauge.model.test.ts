import fc from 'fast-check'
import { ReplicationLagGauge } from 'opentelemetry-instrumentation-replication-lag'
import { expect, it } from 'vitest'

/** Threads that share one gauge, or a single one. */
type Real = readonly ReplicationLagGauge[]

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
    this.change(model, real[this.thread % real.length] as ReplicationLagGauge)
    const lags = model.lags()
    for (const gauge of real) {
      for (const [follower, lagSeqno] of lags) {
        const [shard, replica] = JSON.parse(follower) as [string, string | null]
        expect(gauge.lagSeqno(shard, replica ?? undefined)).toBe(lagSeqno)
      }
      // A leader that another thread has added alone appears at the second collection.
      if (real.length > 1) gauge.collectMetrics()
      const snapshot = gauge.collectMetrics()
      expect(snapshot).toHaveLength(lags.size)
      for (const { shard, replica, lagSeqno } of snapshot) {
        expect(lagSeqno).toBe(lags.get(key(shard, replica)))
      }
    }
  }

  abstract readonly thread: number
  abstract change(model: Model, gauge: ReplicationLagGauge): void
}

const shard = fc.constantFrom('a', 'b', '7')
const replica = fc.constantFrom(undefined, 'r1', 'r2')
const seqno = fc.oneof(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.bigInt({ min: 0n, max: 9n }))

const thread = fc.nat({ max: 2 })

function command(
  thread: number,
  text: string,
  change: (model: Model, gauge: ReplicationLagGauge) => void,
): Change {
  return new (class extends Change {
    override thread = thread
    override change = change
    override toString() {
      return `${thread}: ${text}`
    }
  })()
}

const commands = [
  fc.record({ thread, shard, seqno, bound: fc.boolean() }).map(({ thread, shard, seqno, bound }) =>
    command(thread, `leader ${shard} ${seqno}${bound ? ' by handle' : ''}`, (model, gauge) => {
      model.leaders.set(shard, seqno)
      if (bound) gauge.leader(shard).store(seqno)
      else gauge.updateLeaderSeqno(shard === '7' ? 7 : shard, seqno)
    }),
  ),
  fc
    .record({ thread, shard, replica, seqno, bound: fc.boolean() })
    .map(({ thread, shard, replica, seqno, bound }) =>
      command(
        thread,
        `applied ${shard} ${replica ?? ''} ${seqno}${bound ? ' by handle' : ''}`,
        (model, gauge) => {
          model.apply(shard, replica, seqno)
          if (bound) gauge.applied(shard, replica).store(seqno)
          else gauge.updateAppliedSeqno(shard === '7' ? 7 : shard, seqno, replica)
        },
      ),
    ),
  fc.record({ thread, shard, replica }).map(({ thread, shard, replica }) =>
    command(thread, `declare ${shard} ${replica ?? ''}`, (model, gauge) => {
      model.apply(shard, replica, undefined)
      gauge.applied(shard, replica)
    }),
  ),
  fc.record({ thread, shard, replica }).map(({ thread, shard, replica }) =>
    command(thread, `remove ${shard} ${replica ?? ''}`, (model, gauge) => {
      const followers = model.followers.get(shard)
      if (replica !== undefined) {
        expect(gauge.remove(shard, replica)).toBe(followers?.delete(replica) ?? false)
        return
      }
      const [leaderGone, followersGone] = [
        model.leaders.delete(shard),
        model.followers.delete(shard),
      ]
      expect(gauge.remove(shard)).toBe(leaderGone || followersGone)
    }),
  ),
]

function startThreads(count: number): Real {
  const gauge = new ReplicationLagGauge()
  if (count === 1) return [gauge]
  const shared = gauge.share()
  return [gauge, ...Array.from({ length: count - 1 }, () => ReplicationLagGauge.attach(shared))]
}

it.each([
  ['one thread', 1, 500],
  ['three threads that share it', 3, 200],
])(
  'agrees with a simple model after any sequence of updates and removals in %s',
  (_, threads, numRuns) => {
    fc.assert(
      fc.property(fc.commands(commands, { maxCommands: 60 }), (sequence) => {
        fc.modelRun(() => ({ model: new Model(), real: startThreads(threads) }), sequence)
      }),
      { numRuns },
    )
  },
)
