import { etcd, etcd36 } from '../servers/etcd.mjs'

/** @param {import('../servers/servers.mjs').Servers} servers @returns {Promise<import('./compare.mjs').Comparison>} */
export async function start(servers) {
  const cluster = await ((await etcd36.isInstalled()) ? etcd36 : etcd).start(servers)
  const { source } = await cluster.connect()
  const [first, second] = cluster.followers
  /** @type {string | undefined} */
  let removed
  const applied = async (/** @type {string} */ name) =>
    BigInt((await cluster.status(name)).raftAppliedIndex)

  return {
    command: '`etcdctl endpoint status`',
    source,
    async write() {
      await cluster.write(1)
      return cluster.position()
    },
    position: applied,
    truth: (name) => (name === removed ? {} : undefined),
    // It asks the members one after the other.
    async plain(name) {
      const follower = await applied(name)
      return { count: Number((await applied(cluster.leader)) - follower) }
    },
    async run({ incident, load }) {
      await incident('healthy and busy', first)
      await incident('one member frozen', first, () => cluster.pause(first))
      await incident('the same: the healthy member', second)
      await incident('thawed', first, () => cluster.resume(first))
      await incident('one member cut off', first, () => cluster.cut(first))
      await incident('its link is back', first, () => cluster.mend())
      await incident('a member killed', second, () => cluster.kill(second))
      await incident('it is back', second, () => cluster.restart(second))
      const former = cluster.leader
      await incident('the leader killed and started: it follows', former, () => cluster.failOver())
      await incident('a learner added', 'learner', () => cluster.addFollower())
      await incident('it is removed', 'learner', () => {
        removed = 'learner'
        return cluster.removeFollower(removed)
      })
      await incident('cut off, nothing is written', cluster.followers[0], async () => {
        load.isBusy = false
        await cluster.cut(cluster.followers[0])
      })
    },
  }
}
