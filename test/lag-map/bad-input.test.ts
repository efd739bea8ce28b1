import fc from 'fast-check'
import {
  ReplicationLagGauge,
  ReplicationState,
  type AtomicSeqno,
  type ReplicaId,
  type Seqno,
  type ShardId,
} from 'opentelemetry-instrumentation-replication-lag'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { BAD_NAMES, BAD_SEQNOS, hostile } from '../support/bad-input.js'
import { recordDiag, type DiagRecorder } from '../support/diag.js'

let logged: DiagRecorder
let state: ReplicationState
let gauge: ReplicationLagGauge
beforeEach(() => {
  logged = recordDiag()
  state = new ReplicationState()
  gauge = new ReplicationLagGauge(state)
  gauge.updateLeaderSeqno('known', 10)
  gauge.updateAppliedSeqno('known', 4)
  gauge.updateAppliedSeqno('known', 3, 'r1')
})
afterEach(() => {
  logged.stop()
})

type Update = (shard: ShardId, seqno: Seqno, replica?: ReplicaId) => unknown

/** Every update. */
const UPDATES: [string, Update][] = [
  ['updateLeaderSeqno', (shard, seqno) => gauge.updateLeaderSeqno(shard, seqno)],
  [
    'updateAppliedSeqno',
    (shard, seqno, replica) => gauge.updateAppliedSeqno(shard, seqno, replica),
  ],
  ['setAppliedSeqno', (shard, seqno, replica) => state.setAppliedSeqno(shard, seqno, replica)],
  ['leader().store', (shard, seqno) => gauge.leader(shard).store(seqno)],
  ['applied().store', (shard, seqno, replica) => gauge.applied(shard, replica).store(seqno)],
]

const positions = () =>
  gauge.collectMetrics().map(({ shard, replica, leaderSeqno, appliedSeqno }) => ({
    ...{ shard, replica, leaderSeqno, appliedSeqno },
  }))

describe.each(UPDATES)('%s', (_, update) => {
  it.each(BAD_SEQNOS)('changes nothing, counts and logs once when the seqno is %s', (_, bad) => {
    const before = positions()
    for (let i = 0; i < 3; i++) update('known', bad as Seqno)
    expect(positions()).toEqual(before)
    expect(gauge.rejectedUpdates).toBe(3)
    expect(logged.matching('warn', 'seqno of shard "known": expected')).toHaveLength(1)
  })

  it.each(BAD_NAMES)('changes nothing, counts and logs once when the shard is %s', (_, bad) => {
    const before = positions()
    for (let i = 0; i < 3; i++) update(bad as ShardId, 7)
    expect(positions()).toEqual(before)
    expect(gauge.rejectedUpdates).toBe(3)
    expect(logged.messages).toHaveLength(1)
    expect(logged.matching('warn', 'shard: expected')[0]?.length).toBeLessThan(500)
  })
})

describe('a bad replica', () => {
  it.each(BAD_NAMES)('changes nothing, is counted and logged once: %s', (_, bad) => {
    const before = positions()
    gauge.updateAppliedSeqno('known', 7, bad as string)
    expect(gauge.applied('known', bad as string).store(7)).toBe(false)
    expect(positions()).toEqual(before)
    expect(gauge.rejectedUpdates).toBe(2)
    expect(logged.matching('warn', 'replica: expected')).toHaveLength(1)
  })
})

describe('questions and removals', () => {
  it.each(BAD_NAMES)('find nothing by a name that is not valid: %s', (_, bad) => {
    const [shard, replica] = [bad as ShardId, bad as ReplicaId]
    expect([gauge.lagSeqno(shard), gauge.lagSeqno('known', replica)]).toEqual([0, 0])
    expect(gauge.lagSeconds(shard)).toBeUndefined()
    expect(gauge.lagSeconds('known', replica)).toBeUndefined()
    expect(state.appliedSeqno(shard)).toBeUndefined()
    expect(state.appliedSeqno('known', replica)).toBeUndefined()
    expect([gauge.remove(shard), gauge.remove('known', replica)]).toEqual([false, false])
    expect([state.remove(shard), state.remove('known', replica)]).toEqual([false, false])
    expect(gauge.rejectedUpdates).toBe(0)
  })
})

describe('a seqno that is not valid', () => {
  it('does not add its shard', () => {
    gauge.updateLeaderSeqno('new', -1)
    gauge.updateAppliedSeqno('new', -1)
    gauge.updateLeaderSeqno('new', 5)
    expect(positions().filter(({ shard }) => shard === 'new')).toEqual([
      { shard: 'new', leaderSeqno: 5 },
    ])
  })

  it('is logged with its side and follower, so that the caller can be found', () => {
    gauge.updateLeaderSeqno('s', Number.NaN)
    gauge.updateAppliedSeqno('s', 1.5, 'r "1"')
    expect(logged.matching('leader seqno of shard "s": expected', 'got NaN')).toHaveLength(1)
    expect(
      logged.matching('applied seqno of shard "s", replica "r \\"1\\"": expected', 'got 1.5'),
    ).toHaveLength(1)
  })

  it('is logged once for each follower, of the first thousand', () => {
    for (let shard = 0; shard < 1500; shard++) gauge.updateLeaderSeqno(shard, -1)
    expect(logged.matching('leader seqno of shard')).toHaveLength(1000)
    expect(gauge.rejectedUpdates).toBe(1500)
  })

  it("does not stop an update when the application's logger throws", () => {
    logged.failWith(new Error('the logger is broken'))
    gauge.updateLeaderSeqno('known', -1)
    expect(gauge.rejectedUpdates).toBe(1)
    expect(logged.messages).toHaveLength(1)
  })
})

describe('anything', () => {
  const isSeqno = (value: unknown) =>
    typeof value === 'bigint'
      ? value >= 0n && value < 2n ** 64n
      : Number.isSafeInteger(value) && (value as number) >= 0
  const isName = (value: unknown) =>
    typeof value === 'string'
      ? value.length > 0 && value.length <= 1024 && value.isWellFormed()
      : Number.isSafeInteger(value) && (value as number) >= 0
  const something = fc.oneof(
    fc.anything({
      withBigInt: true,
      withBoxedValues: true,
      withDate: true,
      withMap: true,
      withNullPrototype: true,
      withTypedArray: true,
    }),
    fc.string({ unit: 'binary', maxLength: 1030 }),
    fc.constantFrom(hostile(), Symbol('any'), () => 7, 'x'.repeat(1025)),
  )
  const shard = fc.oneof(fc.constantFrom('known', 7), something) as fc.Arbitrary<ShardId>
  const seqno = fc.oneof(fc.constantFrom(5, 5n), something) as fc.Arbitrary<Seqno>
  const replica = fc.oneof(fc.constantFrom(undefined, 'r1', 7), something) as fc.Arbitrary<
    ReplicaId | undefined
  >

  it('can be passed to every update: it is stored if it is valid, and counted if not', () => {
    const update = fc.constantFrom(...UPDATES.map(([name, update]) => ({ name, update })))
    fc.assert(
      fc.property(update, shard, seqno, replica, ({ name, update }, shard, seqno, replica) => {
        const isOfLeader = /leader/i.test(name)
        const hasValidNames =
          isName(shard) && (isOfLeader || replica === undefined || isName(replica))
        const isValid = hasValidNames && isSeqno(seqno)
        const [before, rejected] = [positions(), gauge.rejectedUpdates]
        update(shard, seqno, replica)
        expect(gauge.rejectedUpdates).toBe(rejected + (isValid ? 0 : 1))
        if (!isValid) {
          // Taking the handle of a valid name adds its entry.
          if (!hasValidNames || !name.endsWith('store')) expect(positions()).toEqual(before)
          return
        }
        const stored: AtomicSeqno = isOfLeader ? gauge.leader(shard) : gauge.applied(shard, replica)
        expect(stored.load()).toBe(BigInt(seqno))
      }),
      { numRuns: 1000 },
    )
    // Each of three values can be a string of 64 control characters, which are printed as six.
    expect(logged.messages.every((message) => message.length < 1500)).toBe(true)
  })
})
