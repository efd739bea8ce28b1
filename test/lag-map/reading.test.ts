import fc from 'fast-check'
import {
  ReplicationLagGauge,
  ReplicationPoller,
  type FollowerReading,
  type ReplicationReading,
  type ShardReading,
} from 'opentelemetry-instrumentation-replication-lag'
import { describe, expect, it } from 'vitest'
import { BAD_NAMES, BAD_SEQNOS, hostile, revoked } from '../support/bad-input.js'
import {
  answer,
  collectedFrom,
  INTERVAL,
  lagsOf,
  pass,
  pointsOf,
  setUpPolling,
} from '../support/polling.js'
import { reading } from '../support/scripted-source.js'

const test = setUpPolling()

const SHARD: ShardReading = {
  ...{ shard: 'b', leaderSeqno: 20 },
  followers: [
    { replica: 'r1', appliedSeqno: 15 },
    { replica: 'r2', appliedSeqno: 16 },
  ],
}

/** Reads a valid reading, then one that is not, and expects that the second one changed nothing. Returns its error. */
async function readInvalid(bad: unknown): Promise<string> {
  test.poll().start()
  const [a] = reading('a', 10, { r1: 4 }).shards
  await answer(test.source, { shards: [a, SHARD] as ShardReading[] })
  const before = await collectedFrom(test.gauge)
  await pass(INTERVAL)
  await answer(test.source, bad as ReplicationReading)
  const changed = { 'replication_source_up{scripted}': 0 }
  expect(await collectedFrom(test.gauge)).toEqual({ ...before, ...changed })
  expect(test.gauge.rejectedUpdates).toBe(0)
  const [message = '', ...others] = test.logged.messages
  expect(others).toEqual([])
  expect(message).toMatch(/^error: .*source "scripted" cannot be read: /)
  expect(message.length).toBeLessThan(500)
  return message.slice(message.indexOf('read: ') + 6)
}

/** A reading with one change to shard `b`, in which shard `a` is valid and has moved on. */
const withShard = (change: object) => ({
  shards: [...reading('a', 99, { r1: 98 }).shards, { ...SHARD, ...change }],
})

/** The same with one change to its follower `r2`. */
const withFollower = (change: object) =>
  withShard({
    followers: [
      { replica: 'r1', appliedSeqno: 19 },
      { replica: 'r2', ...change },
    ],
  })

const SEQNO = 'a bigint from 0 to 2^64-1 or a non-negative safe integer'

describe('an invalid reading fails the read, changes nothing, and the error names shard, follower and field', () => {
  it.each<[unknown, string]>([
    [null, 'reading: expected an object, got null'],
    [undefined, 'reading: expected an object, got undefined'],
    [7, 'reading: expected an object, got 7'],
    [{}, 'shards: expected an array, got undefined'],
    [{ shards: { length: 0 } }, 'shards: expected an array, got an object'],
    [{ shards: [null] }, 'shards[0]: expected an object, got null'],
    [{ shards: [], complete: 1 }, 'complete: expected a boolean, got 1'],
    [{ shards: [], note: 7 }, 'note: expected a string, got 7'],
    [{ shards: [SHARD, { ...SHARD }] }, 'shard: expected one entry for each, got "b"'],
    [withShard({ leaderSeqno: -1 }), `shard "b": leaderSeqno: expected ${SEQNO}, got -1`],
    [withShard({ cascading: 'no' }), 'shard "b": cascading: expected a boolean, got "no"'],
    [withShard({ epoch: 7 }), 'shard "b": epoch: expected a string, got 7'],
    [withShard({ problem: {} }), 'shard "b": problem: expected a string, got an object'],
    [withShard({ removed: 'r2' }), 'shard "b": removed: expected an array, got "r2"'],
    [withShard({ followers: undefined }), 'shard "b": followers: expected an array, got undefined'],
    [withShard({ followers: [7] }), 'shard "b": followers[0]: expected an object, got 7'],
    [withFollower({ replica: 'r1' }), 'shard "b": replica: expected one entry for each, got "r1"'],
    [
      withShard({ followers: [{ appliedSeqno: 1 }, {}] }),
      'shard "b": replica: expected one entry for each, got undefined',
    ],
    ...['appliedSeqno', 'appliedUpTo', 'receivedSeqno', 'retainedSeqno'].map(
      (field): [unknown, string] => [
        withFollower({ [field]: 1.5 }),
        `shard "b": follower "r2": ${field}: expected ${SEQNO}, got 1.5`,
      ],
    ),
    [
      withShard({ followers: [{ connected: 'no' }] }),
      'shard "b": follower: connected: expected a boolean, got "no"',
    ],
    [
      withFollower({ diverged: null }),
      'shard "b": follower "r2": diverged: expected a boolean, got null',
    ],
    [withFollower({ problem: 7 }), 'shard "b": follower "r2": problem: expected a string, got 7'],
    [
      withFollower({ comparedWith: 7 }),
      'shard "b": follower "r2": comparedWith: expected an object, got 7',
    ],
    [
      withFollower({ comparedWith: { at: 1 } }),
      `shard "b": follower "r2": comparedWith.leaderSeqno: expected ${SEQNO}, got undefined`,
    ],
    ...[undefined, -1, NaN, Infinity, '1'].map((at): [unknown, string] => [
      withFollower({ comparedWith: { leaderSeqno: 1, at } }),
      'shard "b": follower "r2": comparedWith.at: expected a time as performance.now(), got ',
    ]),
  ])('%o: %s', async (bad, expected) => {
    expect(await readInvalid(bad)).toContain(expected)
  })

  it.each(BAD_NAMES)('a name that is %s', async (_, bad) => {
    expect(await readInvalid(withFollower({ replica: bad }))).toContain('shard "b": replica: ')
  })

  it.each(BAD_NAMES)('a removed follower that is %s', async (_, bad) => {
    expect(await readInvalid(withShard({ removed: [bad] }))).toContain('shard "b": removed: ')
  })

  it.each(BAD_SEQNOS.filter(([, bad]) => bad !== undefined))(
    'a seqno that is %s',
    async (_, bad) => {
      const error = await readInvalid(withFollower({ appliedSeqno: bad }))
      expect(error).toContain(`shard "b": follower "r2": appliedSeqno: expected ${SEQNO}, got `)
    },
  )

  it.each([
    ['a reading', hostile()],
    ['a shard', { shards: [hostile()] }],
    ['a follower', withShard({ followers: [hostile()] })],
    ['shards', { shards: revoked() }],
  ])('%s that cannot be read', async (_, bad) => {
    await readInvalid(bad)
  })
})

it('a field that is undefined is one that is missing', async () => {
  const missing = undefined
  test.poll().start()
  await answer(test.source, {
    ...{ complete: missing, note: missing },
    shards: [
      {
        ...{ shard: 'a', leaderSeqno: 9, followers: [{ replica: missing, appliedSeqno: 2 }] },
        ...{ cascading: missing, epoch: missing, removed: missing, problem: missing },
      },
    ],
  })
  expect(lagsOf(test.gauge)).toEqual({ 'a/': 7 })
  expect(await pointsOf(test.gauge, 'replication_follower_connected')).toEqual({ a: 1 })
  expect(test.logged.messages).toEqual([])
})

const seqno = fc.oneof(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.maxSafeNat())
const name = fc.constantFrom<unknown>('a', 'b', 7, '7', '__proto__', 'two\nlines', '', null)
const rarelyBad = <T>(usual: fc.Arbitrary<T>) =>
  fc.oneof({ arbitrary: usual, weight: 20 }, { arbitrary: fc.anything(), weight: 1 })
const follower = fc.record(
  { replica: rarelyBad(name), appliedSeqno: rarelyBad(seqno), connected: fc.boolean() },
  { requiredKeys: [] },
) as fc.Arbitrary<FollowerReading>
const shard = fc.record(
  {
    ...{ shard: rarelyBad(name), leaderSeqno: rarelyBad(seqno), epoch: fc.constantFrom('1', '2') },
    ...{ followers: fc.array(follower, { maxLength: 3 }), removed: fc.array(name) },
  },
  { requiredKeys: ['shard', 'followers'] },
) as fc.Arbitrary<ShardReading>
const anyReading = fc.oneof(
  fc.record({ shards: fc.array(shard, { maxLength: 3 }), complete: fc.boolean() }),
  fc.anything() as fc.Arbitrary<ReplicationReading>,
)

it('readings of any shape neither stop polling nor collecting', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyReading, { minLength: 1, maxLength: 4 }), async (found) => {
      const gauge = new ReplicationLagGauge()
      let reads = 0
      const read = () => Promise.resolve(found[reads++] as ReplicationReading)
      const sources = [{ name: 'any', read }]
      const poller = new ReplicationPoller({ gauge, sources, pollIntervalMillis: 10 })
      poller.start()
      try {
        for (let polls = 1; polls <= found.length; polls++) {
          await pass(polls === 1 ? 0 : 10)
          expect(reads).toBe(polls)
          await collectedFrom(gauge)
        }
      } finally {
        poller.stop()
      }
    }),
    { numRuns: 60 },
  )
})
