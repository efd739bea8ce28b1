import { mysql } from '../servers/mysql.mjs'

/** @import { Servers } from '../servers/servers.mjs' */
/** @import { Family } from '../servers/mysql-family.mjs' */
/** @import { Comparison } from './compare.mjs' */

/** @param {Servers} servers */
export function start(servers) {
  return compareFamily(mysql, servers, {
    status: 'show replica status',
    seconds: 'Seconds_Behind_Source',
    io: 'Replica_IO_Running',
    applier: 'replica sql_thread',
  })
}

/**
 * @param {import('../servers/system.js').SystemKind} kind
 * @param {Servers} servers
 * @param {{ status: string, seconds: string, io: string, applier: string }} words of the system
 * @returns {Promise<Comparison>}
 */
export async function compareFamily(kind, servers, words) {
  const system = /** @type {Family} */ (/** @type {unknown} */ (await kind.start(servers)))
  const { source } = await system.connect()
  const [first, second] = system.followers
  const run = (/** @type {string} */ name, /** @type {string} */ statement) =>
    system.member(name).query(statement)

  return {
    command: `\`${words.status}\` on the replica`,
    source,
    async write() {
      await system.write(1)
      return system.position()
    },
    position: (name) => system.position(name),
    async plain(name) {
      const [row] = await run(name, words.status)
      const seconds = row?.[words.seconds]
      return {
        seconds: typeof seconds === 'number' ? seconds : undefined,
        connected: row?.[words.io] === 'Yes',
      }
    },
    async run({ incident, load }) {
      await incident('healthy and busy', first)
      await incident('applying stopped', first, () => run(first, `stop ${words.applier}`))
      await incident('the same: the healthy replica', second)
      await incident('applying again', first, () => run(first, `start ${words.applier}`))
      await incident('its link hangs', first, () => system.cut(first))
      await incident('the link is back', first, () => system.mend(first))
      await incident('a replica frozen', first, () => system.pause(first))
      await incident('the same: the healthy replica', second)
      await incident('thawed', first, () => system.resume(first))
      await incident('a replica killed', second, () => system.kill(second))
      await incident('it is back', second, () => system.restart(second))
      const former = system.leaderName
      await incident('failover: the old leader follows', former, () => system.failOver())
      const [follower] = system.followers
      await incident('a link hangs, nothing is written', follower, async () => {
        load.isBusy = false
        await system.cut(follower)
      })
    },
  }
}
