import type { ReplicationSource } from 'opentelemetry-instrumentation-replication-lag'
import { expect, it, onTestFinished } from 'vitest'
import type { Family } from '../../servers/mysql-family.mjs'
import { Servers } from '../../servers/servers.mjs'
import type { ConnectOptions, SystemKind } from '../../servers/system.js'
import { eventually } from '../../support/eventually.js'
import { describeInstalled, useStarted } from '../contract.js'
import { readShard, untilSeen as untilSeenOf } from '../shared/systems.js'

/** A leader, two followers, and sources of them. */
class Started {
  constructor(readonly system: Family) {}

  readonly connect = (options: ConnectOptions = {}): Promise<ReplicationSource> =>
    sourceFor(this.system, options)
}

/** Creates a source whose clients are closed when the test ends. */
export async function sourceFor(
  system: Family,
  options: ConnectOptions = {},
): Promise<ReplicationSource> {
  const connected = await system.connect(options)
  onTestFinished(() => connected.close())
  return connected.source
}

async function start(kind: SystemKind, servers: Servers): Promise<Started> {
  const system: unknown = await kind.start(servers)
  return new Started(system as Family)
}

/** Starts servers for the tests of a file. Each test leaves them as they were. */
export function useFamily(kind: SystemKind): () => Started {
  return useStarted((servers) => start(kind, servers))
}

/** Starts servers for one test, which need not leave them as they were. */
export async function startForTest(kind: SystemKind): Promise<Started> {
  const servers = await Servers.create()
  onTestFinished(() => servers.stop())
  return start(kind, servers)
}

/** Reads what is seen of a follower. */
export async function seen(source: ReplicationSource, replica: string, shard = 'orders') {
  return (await readShard(source, shard)).seen[replica]
}

/** Waits until a source reports this of a follower. */
export function untilSeen(
  source: ReplicationSource,
  replica: string,
  expected: Parameters<typeof untilSeenOf>[3],
  shard = 'orders',
): Promise<void> {
  return untilSeenOf(source, shard, replica, expected)
}

/** The words of a system for what happens to MySQL and MariaDB alike. */
export interface Words {
  /** What it calls a follower, and the beginning of the settings of a link. */
  readonly replica: string
  readonly source: string
  readonly notReceiving: string
  readonly connecting: RegExp
  readonly notApplying: string | undefined
  /** The table of connections, with a condition for those of the source. */
  readonly connections: string
  /** Adds a link named `other`, to a server that does not exist; names a link; and removes that one. */
  readonly addOther: string
  readonly link: (name: string) => string
  readonly removeOther: string
  /** What is wrong with a follower that was written to. */
  readonly writtenTo: RegExp
  /** Makes a leader forget its history, and what is wrong with its followers then. */
  readonly reset: string
  readonly lost: RegExp
  /** The epochs before and after that. */
  readonly epochs: readonly [string, string]
}

/** Describes what happens to MySQL and MariaDB alike. */
export async function describeSituations(kind: SystemKind, words: Words): Promise<void> {
  const { replica: word, notReceiving } = words
  const delay = (seconds: number) => [
    `stop ${word}`,
    `change ${words.source}_delay = ${seconds}`,
    `start ${word}`,
  ]
  const notReceived = { connected: false, lag: 10, receiveLag: 10, problem: notReceiving }
  const notApplied = { lag: 10, receiveLag: 0, problem: words.notApplying }

  await describeInstalled(kind, () => {
    const started = useFamily(kind)
    const first = () => started().system.member('replica-1')

    it.each([
      ['does not apply', 'mysql2', [`stop ${word} sql_thread`], notApplied],
      ['does not apply', 'mariadb', [`stop ${word} sql_thread`], notApplied],
      ['does not receive', 'mysql2', [`stop ${word} io_thread`], notReceived],
      ['applies with a delay', 'mysql2', delay(3600), { lag: 10, receiveLag: 0 }],
    ])('reports a follower that %s, with %s', async (_, client, statements, expected) => {
      const source = await started().connect({ client })
      await first().run(statements)
      await started().system.write(10)
      await untilSeen(source, 'replica-1', expected)
      await untilSeen(source, 'replica-2', { lag: 0, receiveLag: 0 })
      await first().run(delay(0))
      await untilSeen(source, 'replica-1', { lag: 0, receiveLag: 0 })
    })

    it('reports a follower whose link was cut as disconnected once its timeout is over', async () => {
      const { system } = started()
      const source = await started().connect()
      const setTimeouts = (timeout: number, heartbeat: number) =>
        first().run([
          `set global ${word}_net_timeout = ${timeout}`,
          `stop ${word}`,
          `change ${words.source}_heartbeat_period = ${heartbeat}`,
          `start ${word}`,
        ])
      await setTimeouts(1, 0.2)
      await untilSeen(source, 'replica-1', { lag: 0 })
      await system.cut('replica-1')
      await system.write(2)
      const problem = expect.stringMatching(words.connecting) as string
      await untilSeen(source, 'replica-1', { connected: false, lag: 2, receiveLag: 2, problem })
      await system.mend('replica-1')
      await setTimeouts(60, 30)
      await untilSeen(source, 'replica-1', { lag: 0 })
    })

    it.each(['mysql2', 'mariadb'])(
      'survives that a server closes idle connections, with %s',
      async (client) => {
        const { leader } = started().system
        await leader.query('set global wait_timeout = 1')
        onTestFinished(() => leader.run(['set global wait_timeout = 28800']))
        const source = await started().connect({ client })
        await untilSeen(source, 'replica-1', { lag: 0 })
        await eventually(async () => {
          expect(await leader.query(`select 1 from ${words.connections}`)).toEqual([])
        })
        await untilSeen(source, 'replica-1', { lag: 0 })
      },
    )

    it('looks at the link to the leader, not at those to other servers', async () => {
      const source = await started().connect()
      const [own, other] = [words.link(''), words.link('other')]
      await first().run([words.addOther, `start ${word} ${other}`])
      await untilSeen(source, 'replica-1', { lag: 0 })
      await first().query(`stop ${word} ${own}`)
      await untilSeen(source, 'replica-1', { connected: false, lag: 0, problem: notReceiving })
      await first().run([`start ${word} ${own}`, `stop ${word} ${other}`, words.removeOther])
      await untilSeen(source, 'replica-1', { lag: 0 })
    })
  })

  await describeInstalled(kind, () => {
    const diverged = (problem: RegExp) => ({
      diverged: true,
      lag: undefined,
      problem: expect.stringMatching(problem) as string,
    })

    it('reports a follower that was written to as diverged, and not as caught up', async () => {
      const started = await startForTest(kind)
      const source = await started.connect()
      await untilSeen(source, 'replica-1', { lag: 0 })
      await started.system.member('replica-1').query('insert into app.t values (-1)')
      await untilSeen(source, 'replica-1', diverged(words.writtenTo))
      // MariaDB gives the same sequence number to another transaction, and then further ones.
      for (const count of [1, 2]) {
        await started.system.write(count)
        await untilSeen(source, 'replica-2', { lag: 0 })
        await untilSeen(source, 'replica-1', diverged(words.writtenTo))
      }
    })

    it('reports no lag against a leader that has lost its history', async () => {
      const started = await startForTest(kind)
      const { system } = started
      const source = await started.connect()
      await untilSeen(source, 'replica-1', { lag: 0 })
      await system.leader.query(words.reset)
      const [before, after] = words.epochs
      for (const leaderSeqno of [0n, 2n]) {
        await untilSeen(source, 'replica-1', diverged(words.lost))
        expect(await readShard(source, 'orders')).toMatchObject({ leaderSeqno, epoch: after })
        // One that has not seen it before cannot know of the loss.
        const late = await started.connect()
        await untilSeen(late, 'replica-1', diverged(words.lost))
        expect(await readShard(late, 'orders')).toMatchObject({ leaderSeqno, epoch: before })
        if (leaderSeqno === 0n) await system.write(2)
      }
    })
  })
}
