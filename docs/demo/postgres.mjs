import { PostgresCluster } from '../../test/servers/postgres/cluster.mjs'
import { startService } from '../examples/service/service.mjs'
import { Gate } from '../../test/servers/gate.mjs'
import { formatSeconds } from './terminal.mjs'

/** @typedef {import('../../test/servers/postgres/node.mjs').PostgresNode} PostgresNode */
/** @typedef {import('./show.js').Scene} Scene */

const ROWS_PER_WRITE = 3
const WRITES_PER_TRUNCATE = 600

/**
 * Starts a primary and two standbys, each behind a link that can be cut, and a service that reads an address that follows
 * the primary.
 *
 * @param {{ signal: AbortSignal, fail: (error: Error) => void, print: (line: string) => void }} surroundings
 * @returns {Promise<import('./show.js').Show>}
 */
export async function startPostgres({ signal, fail, print }) {
  print('Starting PostgreSQL: a primary …')
  const cluster = await PostgresCluster.create({
    signal,
    onUnexpectedExit: fail,
    conf: {
      wal_sender_timeout: '4s',
      wal_receiver_timeout: '4s',
      wal_keep_size: '256MB',
      max_wal_size: '128MB',
    },
  })
  /** @type {Gate[]} */
  const gates = []
  const stop = () => Promise.all(gates.map((gate) => gate.stop())).finally(() => cluster.stop())
  /** @param {PostgresNode} target */
  const open = async (target) => {
    const gate = await Gate.open(target.port)
    gates.push(gate)
    return gate
  }
  try {
    const primary = await cluster.startPrimary()
    const address = await open(primary)
    print('… two standbys …')
    /** @param {string} name @param {string} [slot] */
    const follow = async (name, slot) => {
      const link = await open(primary)
      const options = { name, of: primary, port: link.port, ...(slot && { slot }) }
      return { node: await cluster.startStandby(options), link }
    }
    // One is named by its application_name, the other by its slot, which keeps the log while it is away.
    const [first, second] = await Promise.all([
      follow('standby_1'),
      follow('standby_2', 'standby_2'),
    ])
    print('… and a service that watches them.')
    const service = await startService(
      { ...primary.connectionConfig(), port: address.port },
      'orders',
    )

    let leader = primary
    /** Moves the leader's role in order, so that the old leader can follow the new one. @param {PostgresNode} next */
    const switchOver = async (next) => {
      const last = leader
      await last.stop()
      await next.promote()
      await next.query("select pg_create_physical_replication_slot('standby_2', true)")
      leader = next
      address.moveTo(next.port)
      second.link.moveTo(next.port)
      await cluster.follow(last, { of: next, ...(last === primary && { slot: 'old_primary' }) })
      await last.start()
      await last.untilStreaming()
      // Its own slots would keep its log now.
      await last.query('select pg_drop_replication_slot(slot_name) from pg_replication_slots')
    }

    /** What PostgreSQL's own view says of standby_2. */
    const itsView = async () => {
      const [row] = await leader.query(
        `select coalesce(round(extract(epoch from replay_lag), 1) || ' s', 'NULL') as lag
           from pg_stat_replication where application_name = 'standby_2'`,
      )
      return row
        ? `PostgreSQL's replay_lag says ${String(row['lag'])}`
        : 'PostgreSQL has no row for it'
    }
    /** What many dashboards show: when a standby last replayed a transaction. */
    const lastReplay = async () => {
      const [row] = await second.node.query(
        "select round(extract(epoch from now() - pg_last_xact_replay_timestamp()), 1) || ' s' as age",
      )
      return `The last replay was ${String(row?.['age'])} ago`
    }
    /**
     * @param {import('opentelemetry-instrumentation-replication-lag').FollowerLag | undefined} lag
     * @param {string} [trend]
     */
    const here = (lag, trend = '') =>
      lag?.lagSeconds === undefined
        ? 'This package does not know the seconds yet.'
        : `This package says ${formatSeconds(lag.lagSeconds)} behind${trend}.`
    const growing = ', and growing'

    /** @type {Scene[]} */
    const scenes = [
      {
        key: 'p',
        name: 'pause',
        title: 'replay paused',
        replica: 'standby_2',
        begin: () => second.node.pauseReplay(),
        end: () => second.node.resumeReplay(),
        describe: async (lag) =>
          `Replay is paused on standby_2. ${await itsView()}.\n${here(lag, growing)}`,
      },
      {
        key: 'c',
        name: 'cut',
        title: 'link cut',
        replica: 'standby_2',
        begin: () => second.link.close(),
        end: () => second.link.reopen(),
        describe: async (lag) =>
          `The link to standby_2 is cut. ${await itsView()}.\n${here(lag, growing)}`,
      },
      {
        key: 'k',
        name: 'kill',
        title: 'standby killed',
        replica: 'standby_2',
        begin: () => second.node.kill(),
        async end() {
          await second.node.start()
          await second.node.untilStreaming()
        },
        describe: async (lag) => `standby_2 was killed. ${await itsView()}.\n${here(lag, growing)}`,
      },
      {
        key: 'i',
        name: 'idle',
        title: 'idle',
        replica: 'standby_2',
        isIdle: true,
        begin: () => undefined,
        end: () => undefined,
        describe: async (lag) =>
          `Nothing is written, so there is nothing to replay.\n${await lastReplay()}. ${here(lag)}`,
      },
      {
        key: 'f',
        name: 'fail over',
        title: 'failover',
        replica: 'standby_2',
        begin: () => switchOver(first.node),
        end: () => switchOver(primary),
        describe: (lag) =>
          `standby_1 is the primary now, and the others follow it.\nTheir lag starts from scratch. ${here(lag)}`,
      },
    ]
    return {
      servers: `PostgreSQL on 127.0.0.1: primary ${primary.port}, standby_1 ${first.node.port}, standby_2 ${second.node.port}`,
      unit: 'bytes',
      followers: ['standby_1', 'standby_2'],
      gauge: service.gauge,
      url: service.url,
      scenes,
      write: createWriter(() => leader),
      // The service first, because it would log errors about a database that is gone.
      stop: () => service.stop().finally(stop),
    }
  } catch (error) {
    await stop()
    throw error
  }
}

/** Writes about 30 kB of WAL each time, without filling the disk. @param {() => PostgresNode} leader */
function createWriter(leader) {
  let writes = 0
  return async () => {
    if (writes++ === 0) await leader().query('create table orders (id bigint, note text)')
    if (writes % WRITES_PER_TRUNCATE === 0) await leader().query('truncate orders')
    await leader().query(
      `insert into orders select i, (select string_agg(md5(random()::text || i || j), '') from generate_series(1, 320) j)
         from generate_series(1, $1::int) i`,
      [ROWS_PER_WRITE],
    )
  }
}
