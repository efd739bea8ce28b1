import { setTimeout as sleep } from 'node:timers/promises'
import { PostgresCluster } from '../../../test/servers/postgres/cluster.mjs'
import { startService } from '../../examples/service/service.mjs'

/** @typedef {import('../../../test/servers/postgres/node.mjs').PostgresNode} PostgresNode */
/** @typedef {import('../../../test/servers/servers.mjs').Servers} Servers */

/** Something that went wrong, in milliseconds since 1970. */
/** @typedef {{ name: string, start: number, end: number }} Incident */

const INCIDENT_MILLIS = 45_000
const CALM_MILLIS = 25_000
/** How long the shard has no leader in the failover, and how long it then has one follower. */
const NO_LEADER_MILLIS = 15_000
const ONE_FOLLOWER_MILLIS = 20_000

const WRITE_EVERY_MILLIS = 100
/** About 300 kB of WAL a second. */
const ROWS_PER_WRITE = 30
/** Keeps the table small. */
const WRITES_PER_TRUNCATE = 600

/**
 * A leader, two followers and a service that reports how far they are behind.
 *
 * @param {Servers} servers stops everything
 */
export async function startStory(servers) {
  const cluster = await PostgresCluster.create({
    signal: servers.signal,
    // After this time, the leader notices that a link is cut. The default is a minute, longer than the incident.
    conf: { wal_sender_timeout: '25s' },
  })
  servers.onStop(() => cluster.stop())
  const first = await cluster.startPrimary({ name: 'db_1' })
  const links = {
    db_2: await servers.gate(first.port),
    db_3: await servers.gate(first.port),
  }
  const [second, third] = await Promise.all([
    cluster.startStandby({ name: 'db_2', of: first, slot: 'db_2', port: links.db_2.port }),
    cluster.startStandby({ name: 'db_3', of: first, slot: 'db_3', port: links.db_3.port }),
  ])

  // An address that follows the leader, as a virtual IP does.
  const address = await servers.gate(first.port)
  const service = await startService({ ...first.connectionConfig(), port: address.port }, 'orders')
  servers.onStop(() => service.stop())

  const writer = new Writer(first)
  servers.onStop(() => writer.stop())

  const wait = (/** @type {number} */ millis) =>
    sleep(millis, undefined, { signal: servers.signal })

  /** @type {[name: string, incident: () => Promise<void>][]} */
  const incidents = [
    [
      'Replay paused on db_3',
      async () => {
        await third.pauseReplay()
        await wait(INCIDENT_MILLIS)
        await third.resumeReplay()
      },
    ],
    [
      'Link to db_2 cut',
      async () => {
        links.db_2.close()
        await wait(INCIDENT_MILLIS)
        links.db_2.reopen()
      },
    ],
    [
      'db_3 killed, then started again',
      async () => {
        await third.kill()
        await wait(INCIDENT_MILLIS)
        await third.start()
        await third.untilStreaming()
      },
    ],
    [
      'Failover: leader db_1 killed, db_2 takes over, db_1 returns as a follower',
      async () => {
        writer.leader = undefined
        // With WAL that no other node has, db_1 could not come back.
        await Promise.all([second, third].map((node) => node.untilCaughtUpWith(first)))
        await first.kill()
        await wait(NO_LEADER_MILLIS)
        await second.promote()
        await second.query("select pg_create_physical_replication_slot('db_3', true)")
        links.db_3.moveTo(second.port)
        address.moveTo(second.port)
        writer.leader = second
        await third.untilStreaming()
        await wait(ONE_FOLLOWER_MILLIS)
        await cluster.follow(first, { of: second, slot: 'db_1' })
        await first.start()
        await first.untilStreaming()
      },
    ],
  ]

  return {
    /** What Prometheus is to scrape. */
    url: service.url,

    /**
     * Runs all incidents, with calm before and after each.
     *
     * @param {(line: string) => void} print
     */
    async run(print) {
      /** @type {Incident[]} */
      const past = []
      const start = Date.now()
      await wait(CALM_MILLIS)
      for (const [name, happen] of incidents) {
        print(name)
        const incidentStart = Date.now()
        await happen()
        past.push({ name, start: incidentStart, end: Date.now() })
        await wait(CALM_MILLIS)
        writer.check()
      }
      return { start, end: Date.now(), incidents: past }
    },
  }
}

/** Writes to the leader at a steady rate. */
class Writer {
  /** Nothing is written while the cluster has no leader. @type {PostgresNode | undefined} */
  leader
  #writes = 0
  #isStopped = false
  /** @type {unknown} */
  #failure
  #done

  /** @param {PostgresNode} leader */
  constructor(leader) {
    this.leader = leader
    this.#done = this.#run().catch((/** @type {unknown} */ error) => {
      this.#failure = error
    })
  }

  async stop() {
    this.#isStopped = true
    await this.#done
  }

  check() {
    if (this.#failure === undefined) return
    throw new Error('cannot write to the leader', { cause: this.#failure })
  }

  async #run() {
    await this.leader?.query('create table orders (id bigint, note text)')
    while (!this.#isStopped) {
      const leader = this.leader
      if (leader) await this.#write(leader)
      await sleep(WRITE_EVERY_MILLIS)
    }
  }

  /** @param {PostgresNode} leader */
  async #write(leader) {
    try {
      if (++this.#writes % WRITES_PER_TRUNCATE === 0) await leader.query('truncate orders')
      await leader.query(
        `insert into orders select i, repeat('x', 900) from generate_series(1, $1::int) i`,
        [ROWS_PER_WRITE],
      )
    } catch (error) {
      // It was killed meanwhile.
      if (this.leader === leader) throw error
    }
  }
}
