import fc from 'fast-check'
import {
  ReplicationLagGauge,
  ReplicationPoller,
  type ReplicationReading,
  type Seqno,
} from 'opentelemetry-instrumentation-replication-lag'
import { expect } from 'vitest'
import { collectedFrom, lagsOf, pass } from '../support/polling.js'

/** Throws whatever is read from it. */
export const hostile = new Proxy(
  {},
  {
    get() {
      throw new Error('not to be read')
    },
  },
)

const { proxy, revoke } = Proxy.revocable([], {})
revoke()
export const revoked = proxy

/** An array whose second element cannot be read. */
export const half = <T>(element: T): T[] =>
  Object.defineProperty([element, element], 1, {
    get() {
      throw new Error('not to be read')
    },
  })

/** An object whose property cannot be read. */
export const withGetter = (fields: object, name: string): object =>
  Object.defineProperty({ ...fields }, name, {
    enumerable: true,
    get() {
      throw new Error('not to be read')
    },
  })

const u64 = fc.oneof(
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  fc.maxSafeNat(),
  fc.constantFrom(0, 1, 2 ** 53 - 1, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n),
)
const anything = fc.anything({
  withBigInt: true,
  withNullPrototype: true,
  withObjectString: true,
  withSparseArray: true,
  withTypedArray: true,
  withMap: true,
  withDate: true,
})
const bad = fc.oneof(
  fc.constantFrom<unknown>(null, -1, NaN, 2 ** 53, 2n ** 64n, '', 'a\uD800', hostile),
  fc.constantFrom<unknown>(Symbol('bad'), () => 7, true, [], {}, new Date()),
)
const name = fc.constantFrom<unknown>('a', 'b', 7, '7', '__proto__', 'two\nlines')
const rarely = <T>(usual: fc.Arbitrary<T>) =>
  fc.oneof({ arbitrary: usual, weight: 8 }, { arbitrary: bad, weight: 1 })
const followerRow = fc.record(
  {
    replica: rarely(name),
    appliedSeqno: rarely(u64),
    receivedSeqno: rarely(u64),
    retainedSeqno: rarely(u64),
    connected: rarely(fc.boolean()),
    problem: rarely(fc.constantFrom('lost', 'gone')),
  },
  { requiredKeys: [] },
)
const shardRow = fc.record(
  {
    shard: rarely(name),
    leaderSeqno: rarely(u64),
    followers: rarely(fc.array(rarely(followerRow), { maxLength: 5 })),
    removed: rarely(fc.array(rarely(name), { maxLength: 2 })),
    epoch: rarely(fc.constantFrom('1', '2')),
  },
  { requiredKeys: ['shard', 'leaderSeqno', 'followers'] },
)
const nearlyAReading = fc.record(
  { shards: rarely(fc.array(rarely(shardRow), { maxLength: 4 })), note: rarely(fc.string()) },
  { requiredKeys: ['shards'] },
)

/**
 * Polls readings of any shape. They must not stop polling or collecting, and every lag must be the exact difference of two
 * positions that were in the readings. Needs fake time.
 */
export async function checkAnyReadings(numRuns: number): Promise<void> {
  const readings = fc.array(fc.oneof(nearlyAReading, anything), { minLength: 1, maxLength: 4 })
  await fc.assert(
    fc.asyncProperty(readings, async (found) => {
      const gauge = new ReplicationLagGauge()
      let reads = 0
      const read = () => Promise.resolve(found[reads++] as ReplicationReading)
      const sources = [{ name: 'any', read }]
      const poller = new ReplicationPoller({ gauge, sources, pollIntervalMillis: 10 })
      poller.start()
      try {
        const seqnos = seqnosIn(found)
        for (let polls = 1; polls <= found.length; polls++) {
          await pass(polls === 1 ? 0 : 10)
          expect(reads).toBe(polls)
          for (const { lagSeqno, leaderSeqno, appliedSeqno } of gauge.collectMetrics()) {
            expect(seqnos).toContain(leaderSeqno)
            expect(seqnos).toContain(appliedSeqno)
            expect(lagSeqno).toBe(lagBetween(leaderSeqno, appliedSeqno ?? 0n))
          }
          await collectedFrom(gauge)
        }
      } finally {
        poller.stop()
      }
    }),
    { numRuns },
  )
}

/** Polls readings with valid and invalid rows. The valid ones must be reported, the others counted. Needs fake time. */
export async function checkValidRows(numRuns: number): Promise<void> {
  type Row = readonly [row: unknown, lags: Record<string, number>, invalid: number]
  const goodFollower = fc.record({ appliedSeqno: u64, connected: fc.boolean() })
  const goodShard = fc.tuple(u64, fc.array(fc.option(goodFollower), { maxLength: 5 }))
  const badShard = fc.constantFrom<unknown>(
    null,
    7,
    hostile,
    { shard: 'bad' },
    { shard: 'bad', leaderSeqno: 1, followers: revoked },
    { shard: 'bad', leaderSeqno: 1, followers: half({ replica: 'r1', appliedSeqno: 1 }) },
    { shard: 'bad', leaderSeqno: -1, followers: [{ replica: 'r1', appliedSeqno: 1 }] },
    { shard: 'bad', leaderSeqno: 1, followers: [{ appliedSeqno: 1 }], epoch: 7 },
    { shard: '', leaderSeqno: 1, followers: [{ replica: 'r1', appliedSeqno: 1 }] },
  )
  const badFollower = [null, 7, 'r1', hostile, { replica: '' }, { replica: 'x', connected: 1 }]
  const row = (index: number): fc.Arbitrary<Row> =>
    fc.oneof(
      badShard.map((bad): Row => [bad, {}, 1]),
      goodShard.map(([leaderSeqno, found]): Row => {
        const lags: Record<string, number> = {}
        const followers = found.map((follower, replica) => {
          if (!follower) return badFollower[replica % badFollower.length]
          lags[`${index}/${replica}`] = lagBetween(leaderSeqno, follower.appliedSeqno)
          return { replica, ...follower }
        })
        const invalid = found.filter((follower) => !follower).length
        return [{ shard: index, leaderSeqno, followers }, lags, invalid]
      }),
    )
  await fc.assert(
    fc.asyncProperty(fc.tuple(row(0), row(1), row(2)), async (rows) => {
      const gauge = new ReplicationLagGauge()
      const shards = rows.map(([row]) => row) as ReplicationReading['shards']
      const sources = [{ name: 'any', read: () => Promise.resolve({ shards }) }]
      const poller = new ReplicationPoller({ gauge, sources })
      poller.start()
      try {
        await pass(0)
        expect(lagsOf(gauge)).toEqual(Object.assign({}, ...rows.map(([, lags]) => lags)))
        expect(gauge.rejectedUpdates).toBe(rows.reduce((sum, [, , invalid]) => sum + invalid, 0))
      } finally {
        poller.stop()
      }
    }),
    { numRuns },
  )
}

/** The exact difference, saturated. */
function lagBetween(leaderSeqno: Seqno, appliedSeqno: Seqno): number {
  const difference = Number(BigInt(leaderSeqno) - BigInt(appliedSeqno))
  return Math.max(-Number.MAX_SAFE_INTEGER, Math.min(Number.MAX_SAFE_INTEGER, difference))
}

/** Every seqno that is anywhere in a value. */
function seqnosIn(value: unknown, depth = 0): Set<bigint> {
  const found = new Set<bigint>()
  try {
    if (typeof value === 'bigint') found.add(value)
    else if (Number.isSafeInteger(value)) found.add(BigInt(value as number))
    else if (typeof value === 'object' && value !== null && depth < 10) {
      for (const inner of Object.values(value)) {
        for (const seqno of seqnosIn(inner, depth + 1)) found.add(seqno)
      }
    }
  } catch {
    // It cannot be read.
  }
  return found
}
