import type { ReplicationReading } from 'opentelemetry-instrumentation-replication-lag'
import { describe, expect, it } from 'vitest'
import { runInNewContext } from 'node:vm'
import { answer, fail, INTERVAL, pass, setUpPolling, DEADLINE } from '../support/polling.js'

const test = setUpPolling()

const EMPTY: ReplicationReading = { shards: [] }
const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE

/** The errors that were logged, without the level and the namespace. */
const errors = () =>
  test.logged.matching('error: ').map((message) => message.slice(message.indexOf('source')))

/** Polls every ten seconds a source that fails each time. */
function pollFailing(nextError: () => unknown): void {
  // The source decides with what it rejects, and that need not be an Error.
  // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors
  test.source.read = () => Promise.reject(nextError())
  test.poll({ pollIntervalMillis: 10 * SECOND }).start()
}

describe('a failure', () => {
  it('is logged at once, again after a minute if it lasts, and then hourly', async () => {
    pollFailing(() => new Error('refused'))
    await pass(0)
    expect(errors()).toEqual(['source "scripted" cannot be read: refused'])
    await pass(MINUTE - 1)
    expect(errors()).toHaveLength(1)
    await pass(1)
    expect(errors().slice(1)).toEqual(['source "scripted" still cannot be read: refused'])
    await pass(HOUR - 1)
    expect(errors()).toHaveLength(2)
    await pass(1)
    expect(errors()).toHaveLength(3)
    await pass(HOUR)
    expect(errors()).toHaveLength(4)
  })

  it('of another kind is logged at once, and has a minute of its own', async () => {
    let error = new Error('refused')
    pollFailing(() => error)
    await pass(30 * SECOND)
    error = new TypeError('refused')
    await pass(10 * SECOND)
    error = new Error('no role')
    await pass(10 * SECOND)
    error = new Error('refused')
    await pass(9 * SECOND)
    expect(errors()).toEqual(
      ['refused', 'refused', 'no role'].map((text) => `source "scripted" cannot be read: ${text}`),
    )
    await pass(SECOND)
    expect(errors().slice(3)).toEqual(['source "scripted" still cannot be read: refused'])
  })

  it('is logged at once again after a recovery', async () => {
    await test.start()
    await fail(test.source, new Error('refused'))
    await pass(INTERVAL)
    await answer(test.source, EMPTY)
    await pass(INTERVAL)
    await fail(test.source, new Error('refused'))
    const message = 'source "scripted" cannot be read: refused'
    expect(errors()).toEqual([message, message])
  })

  it('is logged for the first hundred kinds until the source answers', async () => {
    let kind = 0
    const next = () => new Error('x'.repeat(++kind))
    pollFailing(next)
    await pass(150 * 10 * SECOND)
    expect(kind).toBe(151)
    expect(errors().filter((message) => !message.includes('still'))).toHaveLength(100)
    test.source.read = () => Promise.resolve(EMPTY)
    await pass(10 * SECOND)
    test.source.read = () => Promise.reject(next())
    await pass(10 * SECOND)
    expect(errors().at(-1)).toBe(`source "scripted" cannot be read: ${'x'.repeat(152)}`)
  })

  it('of one source does not hide that of another', async () => {
    await test.start()
    await fail(test.source, new Error('refused'))
    const read = () => Promise.reject(new Error('refused'))
    await test.start({ sources: [{ name: 'other', read }] })
    await pass(0)
    expect(errors()).toEqual([
      'source "scripted" cannot be read: refused',
      'source "other" cannot be read: refused',
    ])
  })
})

describe('a recovery', () => {
  it('is logged once, and not without a failure', async () => {
    const recoveries = () => test.logged.matching('info: ', 'source "scripted" can be read again')
    await test.start()
    await answer(test.source, EMPTY)
    expect(test.logged.messages).toEqual([])
    await pass(INTERVAL)
    await fail(test.source, new Error('refused'))
    await pass(INTERVAL)
    await fail(test.source, new Error('no role'))
    expect(recoveries()).toHaveLength(0)
    for (let poll = 0; poll < 3; poll++) {
      await pass(INTERVAL)
      await answer(test.source, EMPTY)
      expect(recoveries()).toHaveLength(1)
    }
  })
})

describe('a read that hangs', () => {
  it('is logged at once, again after a minute, then hourly, and its recovery once', async () => {
    await test.start({ pollIntervalMillis: 10 * SECOND })
    await pass(DEADLINE)
    expect(errors()).toHaveLength(1)
    await pass(MINUTE - 1)
    expect(errors()).toHaveLength(1)
    await pass(SECOND)
    expect(errors()).toHaveLength(2)
    expect(errors().at(-1)).toMatch(/^source "scripted" still cannot be read: .*within 300 ms$/)
    await pass(HOUR - SECOND)
    expect(errors()).toHaveLength(2)
    await pass(11 * SECOND)
    expect(errors()).toHaveLength(3)
    await answer(test.source, EMPTY)
    expect(test.logged.matching('info')).toEqual([])
    await answer(test.source, EMPTY)
    expect(test.logged.matching('info', 'can be read again')).toHaveLength(1)
  })

  it('after a failure of another kind is logged at once', async () => {
    await test.start()
    await fail(test.source, new Error('refused'))
    await pass(INTERVAL + DEADLINE)
    expect(errors()).toHaveLength(2)
  })
})

describe('the kind of a failure', () => {
  const withCode = (code: string | number, message: string) =>
    Object.assign(new Error(message), { code })

  it.each<[string, unknown, unknown]>([
    ['its numbers', new Error('timeout after 300 ms'), new Error('timeout after 4.5 ms')],
    ['addresses', new Error('refused by 10.0.0.1:5432'), new Error('refused by 10.0.0.27:5433')],
    ['IPv6 addresses', new Error('refused by ::1:5432'), new Error('refused by fe80::1:5433')],
    ['host names with numbers', new Error('no db-1.host'), new Error('no db-27.host')],
    ['positions', new Error('at 0/3000060'), new Error('at 1F/A0')],
    ['quoted names', new Error('no role "alice"'), new Error('no role "bob"')],
    ['names in single quotes', new Error("no role 'alice'"), new Error("no role 'bob'")],
    ['the message next to a code', withCode('ECONNRESET', 'one'), withCode('ECONNRESET', 'two')],
    ['the message next to a number as code', withCode(7, 'one'), withCode(7, 'two')],
  ])('does not depend on %s', async (_, first, second) => {
    await test.start()
    await fail(test.source, first)
    await pass(INTERVAL)
    await fail(test.source, second)
    expect(errors()).toHaveLength(1)
  })

  it.each<[string, unknown, unknown]>([
    ['its code', withCode('ECONNRESET', 'failed'), withCode('ECONNREFUSED', 'failed')],
    ['its name', new Error('failed'), new TypeError('failed')],
    ['its message', new Error('timeout when connecting'), new Error('no role "alice"')],
    ['whether it is an error', new Error('failed'), 'failed'],
    ['whether it has properties', {}, undefined],
  ])('depends on %s', async (_, first, second) => {
    await test.start()
    await fail(test.source, first)
    await pass(INTERVAL)
    await fail(test.source, second)
    expect(errors()).toHaveLength(2)
  })
})

describe('the message of a failure', () => {
  const withCode = (code: unknown, message: string) => Object.assign(new Error(message), { code })
  const unreadable = new Proxy(new Error(), {
    get() {
      throw new Error('not to be read')
    },
  })
  const { proxy: revoked, revoke } = Proxy.revocable(new Error('revoked'), {})
  revoke()
  const nested = (depth: number): Error =>
    depth === 0 ? new Error('0') : new Error(`${depth}`, { cause: nested(depth - 1) })
  const circular = new Error('circular')
  circular.cause = circular

  it('has what is known of it, whatever was thrown', async () => {
    const cases: [thrown: unknown, message: string][] = [
      [new Error('refused'), 'refused'],
      [withCode('57P03', 'starting up'), '57P03: starting up'],
      // The code once.
      [withCode('EPIPE', 'write EPIPE'), 'write EPIPE'],
      [new RangeError(), 'RangeError'],
      [new Error('first \n  second\nthird'), 'first second third'],
      [new Error('no', { cause: withCode('EIO', 'disk') }), 'no (EIO: disk)'],
      [new Error('no', { cause: 7 }), 'no (7)'],
      [
        new AggregateError([withCode('ECONNREFUSED', 'v6'), withCode('ECONNREFUSED', 'v4')]),
        'AggregateError: [ECONNREFUSED: v6; ECONNREFUSED: v4]',
      ],
      [
        new AggregateError([new AggregateError([new Error('low')], 'middle')], 'top'),
        'top: [middle: [low]]',
      ],
      [new AggregateError([1, 2, 3, 4, 5], 'many'), 'many: [1; 2; 3; 4]'],
      [nested(9), '9 (8 (7 (6 (5))))'],
      [circular, 'circular (circular (circular (circular (circular))))'],
      // Of another realm.
      [runInNewContext("Object.assign(new TypeError('there'), { code: 'X' })"), 'X: there'],
      [runInNewContext("new AggregateError([new Error('there')])"), 'AggregateError: [there]'],
      ['out of order', '"out of order"'],
      [undefined, 'undefined'],
      [null, 'null'],
      [7, '7'],
      [7n, '7n'],
      [Symbol('failure'), 'a symbol'],
      [() => undefined, 'a function'],
      [{}, 'an object'],
      [[], 'an array'],
      [{ message: 7 }, 'an object'],
      [unreadable, 'an error that cannot be read'],
      [revoked, 'an error that cannot be read'],
    ]
    await test.start()
    for (const [thrown] of cases) {
      await fail(test.source, thrown)
      await pass(INTERVAL)
      // After a recovery, a failure of the same kind is logged again.
      await answer(test.source, EMPTY)
      await pass(INTERVAL)
    }
    expect(errors()).toEqual(
      cases.map(([, message]) => `source "scripted" cannot be read: ${message}`),
    )
  })

  it('is that of an error thrown before there is a promise', async () => {
    test.source.read = () => {
      throw new Error('at once')
    }
    await test.start()
    await pass(0)
    expect(errors()).toEqual(['source "scripted" cannot be read: at once'])
  })

  it('has the name of the source on one line', async () => {
    const read = () => Promise.reject(new Error('refused'))
    await test.start({ sources: [{ name: 'two\n"lines"', read }] })
    await pass(0)
    expect(errors()).toEqual(['source "two\\n\\"lines\\"" cannot be read: refused'])
  })
})

describe('a note in a reading', () => {
  it('is logged at debug level when it changes', async () => {
    await test.start()
    for (const note of ['standby', 'standby', 'primary', undefined, 'primary']) {
      await answer(test.source, note === undefined ? EMPTY : { shards: [], note })
      await pass(INTERVAL)
    }
    expect(test.logged.messages).toEqual(
      ['standby', 'primary', 'primary'].map(
        (note) => expect.stringMatching(`^debug: .*source "scripted": ${note}$`) as string,
      ),
    )
  })
})

describe('the problem of a follower', () => {
  /** A reading in which a named follower has a problem or none, and so does the unnamed one. */
  const withProblem = (problem?: string): ReplicationReading => {
    const problems = problem === undefined ? {} : { problem }
    const followers = [{ replica: 'r1', ...problems }, problems]
    return { shards: [{ shard: 'a', leaderSeqno: 1, followers }] }
  }

  it('is logged as a warning for each follower when it changes', async () => {
    await test.start()
    for (const problem of ['lost', 'lost', undefined, 'lost', 'gone']) {
      await answer(test.source, withProblem(problem))
      await pass(INTERVAL)
    }
    expect(test.logged.messages).toEqual(
      ['lost', 'lost', 'gone'].flatMap((problem) =>
        ['follower "r1"', 'follower'].map(
          (follower) =>
            expect.stringMatching(
              `^warn: .*source "scripted": ${follower} of shard "a": ${problem}$`,
            ) as string,
        ),
      ),
    )
  })

  it('is logged again after its shard has begun a new epoch', async () => {
    await test.start()
    for (const epoch of ['1', '2']) {
      const followers = [{ replica: 'r1', problem: 'lost' }]
      await answer(test.source, { shards: [{ shard: 'a', leaderSeqno: 1, followers, epoch }] })
      await pass(INTERVAL)
    }
    expect(test.logged.matching('warn: ', ': lost')).toHaveLength(2)
  })
})
