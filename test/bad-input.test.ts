import {
  ReplicationLagGauge,
  type Seqno,
  type ShardId,
} from 'opentelemetry-instrumentation-replication-lag'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { BAD_NAMES, BAD_SEQNOS, ODD_NAMES } from './support/bad-input.js'
import { recordDiag, type DiagRecorder } from './support/diag.js'

let told: DiagRecorder
let gauge: ReplicationLagGauge
beforeEach(() => {
  told = recordDiag()
  gauge = new ReplicationLagGauge()
  gauge.updateLeaderSeqno('known', 10)
  gauge.updateAppliedSeqno('known', 4)
  gauge.updateAppliedSeqno('known', 3, 'r1')
})
afterEach(() => {
  told.stop()
})

/** Every way in, with a seqno and a follower to put in. */
const UPDATES: [string, (shard: ShardId, seqno: Seqno, replica?: string) => void][] = [
  ['updateLeaderSeqno', (shard, seqno) => gauge.updateLeaderSeqno(shard, seqno)],
  [
    'updateAppliedSeqno',
    (shard, seqno, replica) => gauge.updateAppliedSeqno(shard, seqno, replica),
  ],
  ['leader().store', (shard, seqno) => gauge.leader(shard).store(seqno)],
  ['applied().store', (shard, seqno, replica) => gauge.applied(shard, replica).store(seqno)],
]

describe.each(UPDATES)('%s', (_, update) => {
  it.each(BAD_SEQNOS)('changes nothing, says so once and counts when the seqno is %s', (_, bad) => {
    const before = gauge.collectMetrics()
    for (let i = 0; i < 3; i++) update('known', bad as Seqno)
    expect(gauge.collectMetrics()).toEqual(before)
    expect(gauge.rejectedUpdates).toBe(3)
    expect(told.matching('warn', 'seqno of shard "known": expected')).toHaveLength(1)
  })

  it.each(BAD_NAMES)('changes nothing, says so once and counts when the shard is %s', (_, bad) => {
    const before = gauge.collectMetrics()
    for (let i = 0; i < 3; i++) update(bad as ShardId, 7)
    expect(gauge.collectMetrics()).toEqual(before)
    expect(gauge.rejectedUpdates).toBe(3)
    expect(told.messages.filter((message) => message.includes('shard: expected'))).toHaveLength(1)
    expect(told.messages.every((message) => message.length < 500)).toBe(true)
  })
})

describe('a bad replica', () => {
  it.each(BAD_NAMES)('%s changes nothing, is told once and counted', (_, bad) => {
    const before = gauge.collectMetrics()
    gauge.updateAppliedSeqno('known', 7, bad as string)
    gauge.applied('known', bad as string).store(7)
    expect(gauge.collectMetrics()).toEqual(before)
    expect(gauge.rejectedUpdates).toBe(2)
    expect(told.matching('warn', 'replica: expected')).toHaveLength(1)
  })
})

describe('questions about what can be no name', () => {
  it.each(BAD_NAMES)('are answered as for an unknown one: %s', (_, bad) => {
    expect(gauge.lagSeqno(bad as ShardId)).toBe(0)
    expect(gauge.lagSeqno('known', bad as string)).toBe(0)
    expect(gauge.remove(bad as ShardId)).toBe(false)
    expect(gauge.remove('known', bad as string)).toBe(false)
    expect(gauge.rejectedUpdates).toBe(0)
  })
})

describe('a bad seqno of a shard that is unknown', () => {
  it('does not make the shard known', () => {
    gauge.updateLeaderSeqno('new', -1)
    gauge.updateAppliedSeqno('new', -1)
    gauge.updateLeaderSeqno('new', 5)
    expect(gauge.lagSeqno('new')).toBe(5)
    expect(gauge.collectMetrics().filter(({ shard }) => shard === 'new')).toEqual([
      { shard: 'new', lagSeqno: 5, leaderSeqno: 5n },
    ])
  })
})

describe('odd names', () => {
  it.each(ODD_NAMES)('are taken as they are: %s', (_, name) => {
    gauge.updateLeaderSeqno(name, 9)
    gauge.updateAppliedSeqno(name, 4, name)
    expect(gauge.lagSeqno(name, name)).toBe(5)
    expect(gauge.rejectedUpdates).toBe(0)
  })
})

describe('what is told', () => {
  it('names the side and the follower, so that the caller can be found', () => {
    gauge.updateLeaderSeqno('s', Number.NaN)
    gauge.updateAppliedSeqno('s', 1.5, 'r "1"')
    expect(told.matching('leader seqno of shard "s": expected', 'got NaN')).toHaveLength(1)
    expect(
      told.matching('applied seqno of shard "s", replica "r \\"1\\""', 'got 1.5'),
    ).toHaveLength(1)
  })

  it('is one message a follower, of the first thousand', () => {
    for (let shard = 0; shard < 1500; shard++) gauge.updateLeaderSeqno(shard, -1)
    expect(told.matching('leader seqno of shard')).toHaveLength(1000)
    expect(gauge.rejectedUpdates).toBe(1500)
  })

  it('does not stop an update when the application’s logger throws', () => {
    told.failWith(new Error('a logger that is broken'))
    gauge.updateLeaderSeqno('known', -1)
    expect(gauge.rejectedUpdates).toBe(1)
    expect(told.messages).toHaveLength(1)
  })
})
