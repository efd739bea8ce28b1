import { expect, it, onTestFinished } from 'vitest'
import { mariadb } from '../../servers/mariadb.mjs'
import { mysql } from '../../servers/mysql.mjs'
import { eventually } from '../../support/eventually.js'
import { describeInstalled } from '../contract.js'
import { untilSeen, useFamily } from './scenarios.js'
import { read } from '../shared/systems.js'

// What happens to MySQL and MariaDB alike, in the words of each.

const SYSTEMS = [
  {
    kind: mysql,
    replica: 'replica',
    source: 'replication source to source',
    notReceiving: 'its receiver is OFF, last error 0',
    connecting: /^its receiver is CONNECTING/,
    notApplying: undefined,
    grant: 'GRANT SELECT ON performance_schema',
    connections: "performance_schema.threads where processlist_user = 'monitor'",
    addOther: `change replication source to source_host = '127.0.0.1', source_port = 1, source_user = 'nobody',
      source_auto_position = 1 for channel 'other'`,
    channel: (name: string) => `for channel '${name}'`,
    removeOther: "reset replica all for channel 'other'",
  },
  {
    kind: mariadb,
    replica: 'slave',
    source: 'master to master',
    notReceiving: 'its IO thread is not connected (No), last error 0',
    connecting: /^its IO thread is not connected/,
    notApplying: 'its SQL thread does not run, last error 0',
    grant: 'GRANT REPLICA MONITOR',
    connections: "information_schema.processlist where user = 'monitor'",
    addOther:
      "change master 'other' to master_host = '127.0.0.1', master_port = 1, master_user = 'nobody'",
    channel: (name: string) => `'${name}'`,
    removeOther: "reset slave 'other' all",
  },
]
const CLIENTS = ['mysql2', 'mariadb']

for (const words of SYSTEMS) {
  const { kind, replica: word, notReceiving } = words
  const { title } = kind

  await describeInstalled(kind, () => {
    const started = useFamily(kind)

    it.each(CLIENTS)(
      'distinguishes what was received from what was applied, with %s',
      async (client) => {
        const { system } = started()
        const replica = system.member('replica-1')
        const source = await started().connect({ client })
        await replica.query(`stop ${word} sql_thread`)
        await system.write(100)
        const problem = words.notApplying
        await untilSeen(source, 'replica-1', { lag: 100, receiveLag: 0, problem })
        await untilSeen(source, 'replica-2', { lag: 0, receiveLag: 0 })
        await replica.query(`start ${word} sql_thread`)
        await untilSeen(source, 'replica-1', { lag: 0, receiveLag: 0 })
      },
    )

    it('reports a follower that does not receive as disconnected, with its lag', async () => {
      const { system } = started()
      const replica = system.member('replica-1')
      const source = await started().connect()
      await replica.query(`stop ${word} io_thread`)
      await system.write(10)
      const lost = { connected: false, lag: 10, receiveLag: 10, problem: notReceiving }
      await untilSeen(source, 'replica-1', lost)
      await replica.query(`start ${word} io_thread`)
      await untilSeen(source, 'replica-1', { lag: 0 })
    })

    it('reports the lag of a follower with a delay, which has received everything', async () => {
      const { system } = started()
      const replica = system.member('replica-1')
      const source = await started().connect()
      const delay = (seconds: number) =>
        replica.run([`stop ${word}`, `change ${words.source}_delay = ${seconds}`, `start ${word}`])
      await delay(3600)
      await replica.untilReplicating()
      await system.write(5)
      await untilSeen(source, 'replica-1', { lag: 5, receiveLag: 0 })
      await delay(0)
      await untilSeen(source, 'replica-1', { lag: 0 })
    })

    it('reports a follower whose link was cut as disconnected once its timeout is over', async () => {
      const { system } = started()
      const replica = system.member('replica-1')
      const source = await started().connect()
      const setTimeouts = (timeout: number, heartbeat: number) =>
        replica.run([
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

    it.each(CLIENTS)('needs no privilege, and says what is missing, with %s', async (client) => {
      const { system } = started()
      const source = await started().connect({ client, fault: 'missing right' })
      // Which node leads is then only known if one accepts writes.
      const grant = new RegExp(`which node leads is unknown.*${words.grant}`)
      await eventually(() => expect(read(source)).rejects.toThrow(grant))
      const setReadOnly = async (value: number) => {
        for (const replica of system.replicas)
          await replica.query(`set global read_only = ${value}`)
      }
      await setReadOnly(1)
      onTestFinished(() => setReadOnly(0))
      await system.cut('replica-1')
      await system.write(7)
      await untilSeen(source, 'replica-1', { connected: false, lag: 7, receiveLag: undefined })
      const { shards } = await read(source)
      expect(shards[0]?.problem).toMatch(
        /^the replication state of leader, replica-1 and replica-2 cannot be seen, /,
      )
      expect(shards[0]?.problem).toContain(words.grant)
      await system.mend('replica-1')
      await untilSeen(source, 'replica-1', { connected: false, lag: 0, receiveLag: undefined })
    })

    it.each(CLIENTS)('survives that a server closes idle connections, with %s', async (client) => {
      const { leader } = started().system
      await leader.query('set global wait_timeout = 1')
      onTestFinished(() => leader.run(['set global wait_timeout = 28800']))
      const source = await started().connect({ client })
      await untilSeen(source, 'replica-1', { lag: 0 })
      await eventually(async () => {
        expect(await leader.query(`select 1 from ${words.connections}`)).toEqual([])
      })
      await untilSeen(source, 'replica-1', { lag: 0 })
    })

    it('looks at the link to the leader, not at those to other servers', async () => {
      const replica = started().system.member('replica-1')
      const source = await started().connect()
      const [own, other] = [words.channel(''), words.channel('other')]
      await replica.run([words.addOther, `start ${word} ${other}`])
      await untilSeen(source, 'replica-1', { lag: 0 })
      await replica.query(`stop ${word} ${own}`)
      await untilSeen(source, 'replica-1', { connected: false, lag: 0, problem: notReceiving })
      await replica.run([`start ${word} ${own}`, `stop ${word} ${other}`, words.removeOther])
      await untilSeen(source, 'replica-1', { lag: 0 })
    })

    it.each(CLIENTS)('says what is wrong when the leader is gone, with %s', async (client) => {
      const { leader } = started().system
      const source = await started().connect({ client })
      await untilSeen(source, 'replica-1', { lag: 0 })
      await leader.kill()
      await expect(read(source)).rejects.toThrow(
        new RegExp(`^${title} leader leader.*: .*(lost|closed|REFUSED)`),
      )
      await leader.start()
      await untilSeen(source, 'replica-1', { lag: 0 })
    })
  })
}
