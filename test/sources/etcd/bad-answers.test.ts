import fc from 'fast-check'
import { etcdSource } from 'opentelemetry-instrumentation-replication-lag/sources/etcd'
import { describe, expect, it } from 'vitest'
import { describeOptions } from '../shared/describe-options.js'
import { mutated, validate } from '../shared/fakes.js'
import { createFake, LEADERLESS, listOf, readShard, STATUSES } from './fakes.js'

const MAX = 2n ** 64n - 1n

describe('a field of a status', () => {
  const fields = ['leader', 'raftIndex', 'raftTerm', 'raftAppliedIndex']

  it.each(fields)('that is invalid names the member, and hides no other: %s', async (field) => {
    for (const value of ['', '-1', '1.5', `${MAX + 1n}`, 1.5, -1, true, [], {}]) {
      const fake = createFake()
      fake.change('e3', { [field]: value })
      const { follower, complete } = await readShard(fake)
      expect(complete).toBe(true)
      expect(follower('e2')).toMatchObject({ connected: true, appliedSeqno: 9n })
      expect(follower('e3')).toMatchObject({
        connected: false,
        problem: expect.stringContaining(`field ${field} has an invalid value`) as string,
      })
    }
  })

  it.each(fields)('of the leader that is invalid is named in the error: %s', async (field) => {
    const { read, change } = createFake()
    change('e1', { [field]: '-1' })
    await expect(read()).rejects.toThrow(`member e1, a73f3452e18af27c, cannot be read`)
    await expect(read()).rejects.toThrow(`field ${field} has an invalid value: "-1"`)
  })

  it.each(['cluster_id', 'member_id'])('must be in the header: %s', async (field) => {
    const fake = createFake()
    fake.change('e3', { header: { ...STATUSES.e3.header, [field]: undefined } })
    const { follower } = await readShard(fake)
    expect(follower('e2')).toMatchObject({ connected: true })
    expect(follower('e3')?.problem).toContain(`field ${field} is missing`)
  })

  it.each<[unknown, string | undefined]>([
    ['no array', undefined],
    [{}, undefined],
    [[{}, 7, ' alarm:NOSPACE '], 'an object; 7; alarm:NOSPACE'],
    [['x'.repeat(1000)], 'x'.repeat(300)],
  ])('can hold any errors: %#', async (errors, problem) => {
    const fake = createFake()
    fake.change('e3', { errors })
    const follower = (await readShard(fake)).follower('e3')
    expect(follower).toMatchObject({ connected: true, appliedSeqno: 9n })
    expect(follower?.problem).toBe(problem)
  })

  it('is exact up to 2^64 − 1', async () => {
    const fake = createFake()
    fake.change('e1', { raftIndex: `${MAX}` })
    fake.change('e2', { raftAppliedIndex: `${MAX - 1n}`, raftIndex: `${MAX}` })
    const { leaderSeqno, follower } = await readShard(fake)
    expect(leaderSeqno).toBe(MAX)
    expect(follower('e2')).toMatchObject({ appliedSeqno: MAX - 1n })
  })
})

it('any answers make a valid reading or one clear error', async () => {
  const status = fc.constantFrom(...Object.values(STATUSES), LEADERLESS).chain(mutated)
  const answers = fc.record({ e1: status, e2: status, e3: status })
  const read = fc.tuple(answers, mutated(listOf()))
  await fc.assert(
    fc.asyncProperty(fc.array(read, { maxLength: 4 }), async (reads) => {
      const fake = createFake()
      for (const [statuses, members] of reads) {
        Object.assign(fake.cluster, { statuses, members })
        validate(
          await fake.read().catch((error: unknown) => error),
          /etcd (has no leader|has just been elected)|(of etcd|endpoints).*cannot|can be read:/,
        )
      }
    }),
    { numRuns: 200 },
  )
})

describeOptions(etcdSource, { endpoints: ['http://e1:2379'], shard: 'a' }, 'etcd:a', [
  [{ endpoints: undefined }, 'endpoints: expected an array of distinct http'],
  [{ endpoints: [] }, 'endpoints: expected an array of distinct http'],
  [{ shard: undefined }, 'shard: expected a non-empty'],
  [{ fetch: 1 }, 'fetch: expected a function, got 1'],
])
