import { startReporting } from '../postgres/service.mjs'
import { Servers } from './servers.mjs'

/** @typedef {import('./system.js').SystemKind} SystemKind */

/**
 * The systems that the demo can show where their servers are installed, by name.
 *
 * @type {Record<string, () => Promise<SystemKind>>}
 */
export const systems = {
  redis: async () => (await import('./redis.mjs')).redis,
  mariadb: async () => (await import('./mariadb.mjs')).mariadb,
  mysql: async () => (await import('./mysql.mjs')).mysql,
  jetstream: async () => (await import('./jetstream.mjs')).jetstream,
  etcd: async () => (await import('./etcd.mjs')).etcd,
  kafka: async () => (await import('./kafka.mjs')).kafka,
}

/** How much is written at once. */
const WRITES = 10

/**
 * Starts a system for the demo. One follower is cut off and mended in turn.
 *
 * @param {string} name
 * @param {AbortSignal} signal gives up what is being started
 * @param {(line: string) => void} print
 * @returns {Promise<import('../postgres/demo.mjs').Show>}
 */
export async function startSystem(name, signal, print) {
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
    const [, second] = system.followers
    return {
      servers: `${title} on 127.0.0.1, followers ${system.followers.join(' and ')}`,
      unit,
      followers: 2,
      service,
      write: () => system.write(WRITES),
      hold: () => system.cut(second),
      release: () => system.mend(second),
      held: `${second} is cut off from its leader: it receives nothing.`,
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
