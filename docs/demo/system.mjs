import pg from 'pg'
import { Servers } from '../../test/servers/servers.mjs'
import { startReporting, startService } from '../examples/service/service.mjs'
import { formatSeconds } from './terminal.mjs'

/** @typedef {import('../../test/servers/system.js').SystemKind} SystemKind */
/** @typedef {import('opentelemetry-instrumentation-replication-lag').FollowerLag} FollowerLag */
/** What the demo shows. @typedef {Awaited<ReturnType<typeof startSystem>>} Show */
/**
 * Something that breaks, and is mended.
 * @typedef {object} Scene
 * @property {string} key starts it, and ends it
 * @property {string} name what the key does, in a word: `cut`
 * @property {string} title what is the matter meanwhile, in two words: `link cut`
 * @property {string} replica the follower that it is about
 * @property {boolean} [isIdle] whether nothing is written meanwhile
 * @property {() => unknown} begin
 * @property {() => unknown} end
 * @property {(lag: FollowerLag | undefined) => Promise<string>} describe what is the matter, and how it shows: two lines
 */

/** The systems that the demo can show. All but the first only where their servers are installed. */
export const SYSTEMS = ['postgres', 'redis', 'mariadb', 'mysql', 'jetstream', 'etcd', 'kafka']

/**
 * Starts a leader and two followers of a system, and a service that watches them.
 *
 * @param {string} name
 * @param {{ signal: AbortSignal, print: (line: string) => void }} surroundings
 */
export async function startSystem(name, { signal, print }) {
  const module = /** @type {unknown} */ (await import(`../../test/servers/${name}.mjs`))
  const kind = /** @type {Record<string, SystemKind>} */ (module)[name]
  if (!kind) throw new Error(`there is no system ${name}`)
  const { title, unit, install } = kind
  if (!(await kind.isInstalled())) {
    throw new Error(`${title} is not installed here. Install it with: ${install}`)
  }
  print(`Starting ${title}: a leader and two followers …`)
  const servers = await Servers.create({ signal })
  try {
    const system = await kind.start(servers)
    print('… and a service that watches them.')
    const isPostgres = name === 'postgres'
    const service = isPostgres
      ? await startService({ connectionString: system.url }, system.shard)
      : await reportFrom(await system.connect(), system.shard)
    // The service first, because it would log errors about a database that is gone.
    const stop = () => service.stop().finally(() => servers.stop())
    return {
      servers: `${title} on 127.0.0.1, followers ${system.followers.join(' and ')}`,
      unit,
      followers: system.followers,
      gauge: service.gauge,
      url: service.url,
      scenes: scenesOf(system, isPostgres ? watchReplayLag(system.url, servers) : undefined),
      // About 30 kB in PostgreSQL.
      write: () => system.write(isPostgres ? 200 : 10),
      stop,
    }
  } catch (error) {
    await servers.stop()
    throw error
  }
}

/** @param {import('../../test/servers/system.js').Connected} connected @param {string} shard */
async function reportFrom(connected, shard) {
  const service = await startReporting(connected.source, shard)
  return { ...service, stop: () => service.stop().finally(() => connected.close()) }
}

/**
 * @param {import('../../test/servers/system.js').System} system
 * @param {((replica: string) => Promise<string>) | undefined} ask what PostgreSQL itself says of a follower
 */
function scenesOf(system, ask) {
  const [, replica] = system.followers
  /** @param {string} what @param {FollowerLag | undefined} lag */
  const describe = async (what, lag, trend = ', and growing') => {
    const theirs = ask ? ` ${await ask(replica)}.` : ''
    const ours =
      lag?.lagSeconds === undefined
        ? 'This package does not know the seconds yet.'
        : `This package says ${formatSeconds(lag.lagSeconds)} behind${trend}.`
    return `${what}.${theirs}\n${ours}`
  }
  /** @type {Scene[]} */
  const scenes = [
    {
      key: 'p',
      name: 'pause',
      title: 'replay paused',
      replica,
      begin: () => system.pauseApplying?.(replica),
      end: () => system.resumeApplying?.(replica),
      describe: (lag) => describe(`Replay is paused on ${replica}`, lag),
    },
    {
      key: 'c',
      name: 'cut',
      title: 'link cut',
      replica,
      begin: () => system.cut(replica),
      end: () => system.mend(replica),
      describe: (lag) => describe(`The link to ${replica} is cut`, lag),
    },
    {
      key: 'k',
      name: 'kill',
      title: 'follower killed',
      replica,
      begin: () => system.kill(replica),
      end: () => system.restart(replica),
      describe: (lag) => describe(`${replica} was killed`, lag),
    },
    {
      key: 'i',
      name: 'idle',
      title: 'idle',
      replica,
      isIdle: true,
      begin: () => undefined,
      end: () => undefined,
      describe: (lag) => describe('Nothing is written, so nothing is missing', lag, ''),
    },
  ]
  if (!system.pauseApplying) scenes.shift()
  if (!ask) return scenes
  // In order, so that the old leader can follow the new one with its data.
  const switchOver = () => system.failOver?.({ keepsData: true })
  return scenes.concat({
    key: 'f',
    name: 'fail over',
    title: 'failover',
    replica,
    begin: switchOver,
    end: switchOver,
    describe: (lag) =>
      describe(`${system.leaderName} is the primary now, and the others follow it`, lag, ''),
  })
}

/** Returns a function that asks PostgreSQL's own view. @param {string} url @param {Servers} servers */
function watchReplayLag(url, servers) {
  const pool = new pg.Pool({ connectionString: url, max: 1, connectionTimeoutMillis: 1000 })
  // The next question connects again.
  pool.on('error', () => undefined)
  servers.onStop(() => pool.end())
  return async (/** @type {string} */ replica) => {
    /** @type {{ rows: { lag: string }[] }} */
    const { rows } = await pool.query(
      `select coalesce(round(extract(epoch from replay_lag), 1) || ' s', 'NULL') as lag
         from pg_stat_replication where application_name = $1`,
      [replica],
    )
    return rows[0] ? `PostgreSQL's replay_lag says ${rows[0].lag}` : 'PostgreSQL has no row for it'
  }
}
