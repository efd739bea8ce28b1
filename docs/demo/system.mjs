import { startReporting } from '../examples/service/service.mjs'
import { Servers } from '../../test/servers/servers.mjs'
import { formatSeconds } from './terminal.mjs'

/** @typedef {import('../../test/servers/system.js').SystemKind} SystemKind */
/** @typedef {import('./show.js').Scene} Scene */

/**
 * The systems that the demo can show where their servers are installed, by name.
 *
 * @type {Record<string, () => Promise<SystemKind>>}
 */
export const systems = {
  redis: async () => (await import('../../test/servers/redis.mjs')).redis,
  mariadb: async () => (await import('../../test/servers/mariadb.mjs')).mariadb,
  mysql: async () => (await import('../../test/servers/mysql.mjs')).mysql,
  jetstream: async () => (await import('../../test/servers/jetstream.mjs')).jetstream,
  etcd: async () => (await import('../../test/servers/etcd.mjs')).etcd,
  kafka: async () => (await import('../../test/servers/kafka.mjs')).kafka,
}

/** How much is written at once. */
const WRITES = 10

/**
 * Starts a leader and two followers of a system.
 *
 * @param {string} name
 * @param {{ signal: AbortSignal, print: (line: string) => void }} surroundings
 * @returns {Promise<import('./show.js').Show>}
 */
export async function startSystem(name, { signal, print }) {
  const kind = await systems[name]?.()
  if (!kind) throw new Error(`there is no system ${name}`)
  const { title, unit, install } = kind
  if (!(await kind.isInstalled())) {
    throw new Error(`${title} is not installed here. Install it with: ${install}`)
  }
  print(`Starting ${title}: a leader and two followers …`)
  const servers = await Servers.create({ signal })
  try {
    const system = await kind.start(servers)
    const connected = await system.connect()
    const service = await startReporting(connected.source, system.shard)
    const [, replica] = system.followers
    /** @param {import('opentelemetry-instrumentation-replication-lag').FollowerLag | undefined} lag */
    const behind = (lag) => `${formatSeconds(lag?.lagSeconds)} behind`
    /** @type {Scene[]} */
    const scenes = [
      {
        key: 'c',
        name: 'cut',
        title: 'link cut',
        replica,
        begin: () => system.cut(replica),
        end: () => system.mend(replica),
        describe: (lag) =>
          `${replica} is cut off from its leader.\nIt is ${behind(lag)}, and growing.`,
      },
      {
        key: 'k',
        name: 'kill',
        title: 'follower killed',
        replica,
        begin: () => system.kill(replica),
        end: () => system.restart(replica),
        describe: (lag) => `${replica} was killed.\nIt is ${behind(lag)}, and growing.`,
      },
      {
        key: 'i',
        name: 'idle',
        title: 'idle',
        replica,
        isIdle: true,
        begin: () => undefined,
        end: () => undefined,
        describe: (lag) =>
          `Nothing is written, so no follower falls behind.\n${replica} is ${behind(lag)}.`,
      },
    ]
    return {
      servers: `${title} on 127.0.0.1, followers ${system.followers.join(' and ')}`,
      unit,
      followers: system.followers,
      gauge: service.gauge,
      url: service.url,
      scenes,
      write: () => system.write(WRITES),
      stop: () =>
        service
          .stop()
          .finally(() => connected.close())
          .finally(() => servers.stop()),
    }
  } catch (error) {
    await servers.stop()
    throw error
  }
}
