import type { ReplicationReading } from 'opentelemetry-instrumentation-replication-lag'
import { describe, expect, it } from 'vitest'
import { BAD_NAMES, BAD_SEQNOS } from '../support/bad-input.js'
import { answer, INTERVAL, lagsOf, pass, pointsOf, setUpPolling } from '../support/polling.js'
import { reading } from '../support/scripted-source.js'
import {
  checkAnyReadings,
  checkValidRows,
  half,
  hostile,
  revoked,
  withGetter,
} from './any-readings.js'

const test = setUpPolling()

const GOOD = reading('a', 10, { r1: 4 })

/** Reads twice. Only what is invalid about the rows is logged, and once. */
async function readTwice(shards: readonly unknown[]): Promise<void> {
  test.poll().start()
  for (let read = 0; read < 2; read++) {
    await answer(test.source, { shards } as ReplicationReading)
    await pass(INTERVAL)
  }
  expect(test.logged.matching('error')).toEqual([])
  expect(await pointsOf(test.gauge, 'replication_source_up')).toEqual({ scripted: 1 })
}

describe('an answer that is not a reading', () => {
  it.each<[string, unknown]>([
    ['null', null],
    ['undefined', undefined],
    ['7', 7],
    ['an object', {}],
    ['an object', { shards: 'a' }],
    ['an object', { shards: { length: 0 } }],
    ['an array', []],
  ])('is a failed read, and changes nothing: %s', async (description, bad) => {
    test.poll().start()
    await answer(test.source, GOOD)
    await pass(INTERVAL)
    await answer(test.source, bad as ReplicationReading)
    expect(lagsOf(test.gauge)).toEqual({ 'a/r1': 6 })
    expect(await pointsOf(test.gauge, 'replication_source_up')).toEqual({ scripted: 0 })
    expect(
      test.logged.matching(
        'error',
        `cannot be read: expected a reading with an array of shards, got ${description}`,
      ),
    ).toHaveLength(1)
  })

  it.each<[string, unknown]>([
    ['that throws when it is read', hostile],
    ['that was revoked', revoked],
    ['whose shards throw when they are read', { shards: half(GOOD.shards[0]) }],
    ['whose shards were revoked', { shards: revoked }],
  ])('is a failed read, and changes nothing: one %s', async (_, bad) => {
    test.poll().start()
    await answer(test.source, reading('a', 10, { r1: 9, r2: 9 }))
    await pass(INTERVAL)
    await answer(test.source, bad as ReplicationReading)
    expect(lagsOf(test.gauge)).toEqual({ 'a/r1': 1, 'a/r2': 1 })
    expect(test.logged.matching('error')).toHaveLength(1)
  })
})

describe('an invalid shard', () => {
  const good = { shard: 'x', leaderSeqno: 5, followers: [{ replica: 'r1', appliedSeqno: 1 }] }

  it.each<[string, unknown]>([
    ['null', null],
    ['a number', 7],
    ['a string', 'x'],
    ['a symbol', Symbol('shard')],
    ['an array', [good]],
    ['an object', {}],
    ['an object that throws when it is read', hostile],
    ['one without a leader seqno', { shard: 'x', followers: [] }],
    ['one without followers', { shard: 'x', leaderSeqno: 5 }],
    ['one whose followers are an object', { ...good, followers: {} }],
    ['one whose followers are a string', { ...good, followers: 'r1' }],
    ['one whose followers were revoked', { ...good, followers: revoked }],
    ['one whose followers throw when they are read', { ...good, followers: half({}) }],
    ['one whose removed followers are no array', { ...good, removed: 'r2' }],
    ['one whose removed followers are null', { ...good, removed: null }],
    ['one with an epoch that is NaN', { ...good, epoch: NaN }],
    ['one with an epoch that is null', { ...good, epoch: null }],
    ['one with an epoch that is an object', { ...good, epoch: {} }],
    ...['shard', 'leaderSeqno', 'followers', 'removed', 'epoch'].map((name): [string, unknown] => [
      `one whose ${name} throws`,
      withGetter(good, name),
    ]),
    ...BAD_NAMES.map(([name, shard]): [string, unknown] => [
      `one called ${name}`,
      { ...good, shard },
    ]),
    ...BAD_SEQNOS.map(([name, leaderSeqno]): [string, unknown] => [
      `one whose leader is at ${name}`,
      { ...good, leaderSeqno },
    ]),
  ])('is left out, counted, and logged once: %s', async (_, bad) => {
    await readTwice([bad, ...GOOD.shards])
    expect(lagsOf(test.gauge)).toEqual({ 'a/r1': 6 })
    expect(await pointsOf(test.gauge, 'replication_leader_seqno')).toEqual({ a: 10 })
    expect(test.gauge.rejectedUpdates).toBe(2)
    expect(test.logged.messages).toHaveLength(1)
    expect(test.logged.messages[0]).toMatch(/^warn: .*source "scripted": \w+: expected /)
    expect(test.logged.messages[0]?.length).toBeLessThan(500)
  })

  it.each<[string, object]>([
    [
      'with an invalid leader',
      { leaderSeqno: -1, followers: [{ replica: 'r1', appliedSeqno: 9 }] },
    ],
    [
      'with followers that throw',
      { leaderSeqno: 20, followers: half({ replica: 'r1', appliedSeqno: 9 }) },
    ],
  ])('leaves its followers as they were, disconnected: one %s', async (_, bad) => {
    test.poll().start()
    await answer(test.source, GOOD)
    await pass(INTERVAL)
    await answer(test.source, { shards: [{ shard: 'a', ...bad }] } as unknown as ReplicationReading)
    expect(lagsOf(test.gauge)).toEqual({ 'a/r1': 6 })
    expect(await pointsOf(test.gauge, 'replication_follower_connected')).toEqual({ 'a,r1': 0 })
  })

  it('is the second row of one shard', async () => {
    const [first] = GOOD.shards
    await readTwice([first, { ...first, leaderSeqno: 99 }])
    expect(lagsOf(test.gauge)).toEqual({ 'a/r1': 6 })
    expect(test.gauge.rejectedUpdates).toBe(2)
    expect(test.logged.messages).toEqual([
      expect.stringContaining('shard: expected one row for each shard, got "a"'),
    ])
  })
})

describe('an invalid follower', () => {
  const good = { replica: 'x', appliedSeqno: 1 }

  it.each<[string, unknown]>([
    ['null', null],
    ['undefined', undefined],
    ['a number', 7],
    ['its bare name', 'x'],
    ['a symbol', Symbol('follower')],
    ['an object that throws when it is read', hostile],
    ['one whose connection is a string', { ...good, connected: 'no' }],
    ['one whose connection is null', { ...good, connected: null }],
    ['one whose connection is 0', { ...good, connected: 0 }],
    ['one whose problem is an object', { ...good, problem: {} }],
    ['one whose problem is a symbol', { ...good, problem: Symbol('problem') }],
    ...['replica', 'appliedSeqno', 'receivedSeqno', 'retainedSeqno', 'connected', 'problem'].map(
      (name): [string, unknown] => [`one whose ${name} throws`, withGetter(good, name)],
    ),
    ...BAD_NAMES.map(([name, replica]): [string, unknown] => [
      `one called ${name}`,
      { ...good, replica },
    ]),
  ])('is left out, counted, and logged once: %s', async (_, bad) => {
    const followers = [{ replica: 'r1', appliedSeqno: 4 }, bad, { replica: 'r2', appliedSeqno: 5 }]
    await readTwice([{ shard: 'a', leaderSeqno: 10, followers }])
    expect(lagsOf(test.gauge)).toEqual({ 'a/r1': 6, 'a/r2': 5 })
    expect(await pointsOf(test.gauge, 'replication_follower_connected')).toEqual({
      'a,r1': 1,
      'a,r2': 1,
    })
    expect(test.gauge.rejectedUpdates).toBe(2)
    expect(test.logged.messages).toHaveLength(1)
    expect(test.logged.messages[0]).toMatch(/^warn: .*source "scripted": \w+: expected /)
    expect(test.logged.messages[0]?.length).toBeLessThan(500)
  })

  it('is the second row of one follower', async () => {
    const followers = [1, 2].map((appliedSeqno) => ({ replica: 'r1', appliedSeqno }))
    await readTwice([{ shard: 'a', leaderSeqno: 10, followers }])
    expect(lagsOf(test.gauge)).toEqual({ 'a/r1': 9 })
    expect(test.gauge.rejectedUpdates).toBe(2)
    expect(test.logged.messages).toEqual([
      expect.stringContaining('replica: expected one row for each follower, got "r1"'),
    ])
  })

  it('is the second row of the unnamed follower', async () => {
    const followers = [{ appliedSeqno: 1 }, { appliedSeqno: 2 }]
    await readTwice([{ shard: 'a', leaderSeqno: 10, followers }])
    expect(lagsOf(test.gauge)).toEqual({ 'a/': 9 })
    expect(test.gauge.rejectedUpdates).toBe(2)
  })
})

describe('an invalid position', () => {
  const positions = ['appliedSeqno', 'receivedSeqno', 'retainedSeqno']

  it.each(
    BAD_SEQNOS.filter(([, bad]) => bad !== undefined).flatMap(([name, bad]) =>
      positions.map((position): [string, string, unknown] => [name, position, bad]),
    ),
  )('counts as unknown, and is logged once: %s as %s', async (_, position, bad) => {
    const followers = [{ replica: 'r1', appliedSeqno: 4, receivedSeqno: 7, retainedSeqno: 1 }]
    test.poll().start()
    await answer(test.source, { shards: [{ shard: 'a', leaderSeqno: 10, followers }] })
    for (const leaderSeqno of [20, 20]) {
      await pass(INTERVAL)
      const rows = followers.map((row) => ({ ...row, appliedSeqno: 8, [position]: bad }))
      await answer(test.source, { shards: [{ shard: 'a', leaderSeqno, followers: rows }] })
    }
    const { lagSeqno, ...rest } = test.gauge.collectMetrics()[0] ?? {}
    expect(lagSeqno).toBe(position === 'appliedSeqno' ? 16 : 12)
    if (position !== 'appliedSeqno') expect(rest).not.toHaveProperty(position)
    expect(test.gauge.rejectedUpdates).toBe(2)
    expect(test.logged.messages).toEqual([
      expect.stringMatching(`^warn: .*source "scripted": ${position}: expected a bigint from 0`),
    ])
  })
})

describe('a removed follower whose name is invalid', () => {
  it.each(BAD_NAMES)('is left out, counted, and logged once: %s', async (_, bad) => {
    test.poll().start()
    await answer(test.source, reading('a', 10, { r1: 4, r2: 4 }))
    for (let read = 0; read < 2; read++) {
      await pass(INTERVAL)
      const followers = [{ replica: 'r1', appliedSeqno: 4 }]
      const removed = [bad as string, 'r2']
      await answer(test.source, { shards: [{ shard: 'a', leaderSeqno: 10, followers, removed }] })
    }
    expect(lagsOf(test.gauge)).toEqual({ 'a/r1': 6 })
    expect(test.gauge.rejectedUpdates).toBe(2)
    expect(test.logged.messages).toEqual([
      expect.stringContaining('source "scripted": removed: expected'),
    ])
  })

  it('does not remove the unnamed follower', async () => {
    test.poll().start()
    const followers = [{ appliedSeqno: 4 }]
    await answer(test.source, { shards: [{ shard: 'a', leaderSeqno: 10, followers }] })
    await pass(INTERVAL)
    const removed = [undefined as unknown as string]
    await answer(test.source, {
      shards: [{ shard: 'a', leaderSeqno: 10, followers: [], removed }],
    })
    expect(lagsOf(test.gauge)).toEqual({ 'a/': 6 })
    expect(test.gauge.rejectedUpdates).toBe(1)
  })
})

describe('invalid rows of several kinds', () => {
  it('are logged once for each kind and each source', async () => {
    const shards = [
      null,
      { shard: '', leaderSeqno: 1, followers: [] },
      { shard: 'b', leaderSeqno: -1, followers: [] },
      { shard: 'c', leaderSeqno: 1, followers: [{ replica: '' }, { appliedSeqno: 1.5 }] },
    ] as unknown as ReplicationReading['shards']
    const other = { name: 'other', read: () => Promise.resolve({ shards }) }
    test.poll({ sources: [test.source, other] }).start()
    for (let read = 0; read < 3; read++) {
      await answer(test.source, { shards })
      await pass(INTERVAL)
    }
    for (const name of ['scripted', 'other']) {
      const messages = test.logged.matching('warn: ', `source "${name}": `)
      const fields = messages.map((message) => /": (\w+): /.exec(message)?.[1])
      expect(fields).toEqual(['shards', 'shard', 'leaderSeqno', 'replica', 'appliedSeqno'])
    }
    expect(test.gauge.rejectedUpdates).toBe(3 * 10)
  })
})

describe('any readings at all', () => {
  it('never stop polling or collecting, and make no lag that is not a difference of their positions', async () => {
    await checkAnyReadings(60)
  })

  it('keep what their valid rows say, and count each of the others', async () => {
    await checkValidRows(60)
  })
})
