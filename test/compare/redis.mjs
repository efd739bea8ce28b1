import { currentRedis, redis } from '../servers/redis.mjs'

/** @param {import('../servers/servers.mjs').Servers} servers @returns {Promise<import('./compare.mjs').Comparison>} */
export async function start(servers) {
  const system = await ((await currentRedis.isInstalled()) ? currentRedis : redis).start(servers)
  const { source } = await system.connect()
  const [first, second] = system.followers
  let leadsByMistake = false

  return {
    command: '`redis-cli info replication` on the leader',
    source,
    async write() {
      await system.write(1)
      return system.position()
    },
    position: (name) => system.position(name),
    truth: (name) => (leadsByMistake && name === second ? { connected: false } : undefined),
    format: (bytes) => (bytes < 10_000 ? `${bytes} B` : `${(bytes / 1000).toFixed(0)} kB`),
    async plain(name) {
      const { port } = system.member(name)
      const info = await system.leader.info()
      const replicas = [...info].filter(([field]) => /^slave\d+$/.test(field))
      const line = replicas.find(([, value]) => value.includes(`port=${port},`))?.[1]
      const offset = /offset=(\d+)/.exec(line ?? '')?.[1]
      if (offset === undefined) return { connected: false }
      const count = Number(info.get('master_repl_offset')) - Number(offset)
      return { count, connected: line?.includes('state=online') }
    },
    async run({ incident, load }) {
      await incident('healthy and busy', first)
      await incident('one replica frozen', first, () => system.pause(first))
      await incident('the same: the healthy replica', second)
      await incident('thawed', first, () => system.resume(first))
      await incident('its link hangs', first, () => system.cut(first))
      await incident('the link is back', first, () => system.mend(first))
      await incident('a replica killed', second, () => system.kill(second))
      await incident('it is back', second, () => system.restart(second))
      await incident('a replica promoted by mistake', second, () => {
        leadsByMistake = true
        return system.claimLead(second)
      })
      await incident('it follows again', second, () => {
        leadsByMistake = false
        return system.followAgain(second)
      })
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
