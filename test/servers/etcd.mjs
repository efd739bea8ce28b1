import { access, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { etcdSource } from 'opentelemetry-instrumentation-replication-lag/sources/etcd'
import { Voters } from './members.mjs'
import { freePort } from './postgres/processes.mjs'
import { cacheFolder, isOnPath } from './servers.mjs'

/** @import { Servers } from './servers.mjs' */

const NAMES = ['e1', 'e2', 'e3']

/** @typedef {Awaited<ReturnType<typeof createMember>> & { server?: import('./servers.mjs').Server }} Member */

/**
 * @typedef {object} Status
 * @property {{ member_id: string }} header
 * @property {string} [leader]
 * @property {string} raftIndex
 * @property {string} raftTerm
 * @property {string} raftAppliedIndex
 */

/**
 * @typedef {Omit<import('./system.js').SystemKind, 'start'> & {
 *   program: string
 *   start(servers: Servers): Promise<EtcdCluster>
 * }} EtcdKind
 */

/** Debian's etcd. @type {EtcdKind} */
export const etcd = {
  title: 'etcd',
  unit: 'raft entries',
  install: 'apt install etcd-server',
  program: 'etcd',
  isInstalled: () => isOnPath('etcd'),
  start: (servers) => EtcdCluster.start(servers),
}

const newest = join(cacheFolder('replication-lag-e2e'), 'bin', 'etcd-3.6')

/** @type {EtcdKind} */
export const etcd36 = {
  ...etcd,
  title: 'etcd 3.6',
  install: 'sh test/servers/etcd-install.sh',
  program: newest,
  isInstalled: () =>
    access(newest).then(
      () => true,
      () => false,
    ),
  start: (servers) => EtcdCluster.start(servers, newest),
}

/**
 * Three members. Each is reached through gates: one for its clients, and one for the other members.
 *
 * @extends {Voters<Member>}
 */
export class EtcdCluster extends Voters {
  shard = 'registry'
  #program
  /** @type {Member[]} */
  #learners = []
  /** The names of members, by the ids that they have said. @type {Map<string, string>} */
  #names = new Map()

  /** Use {@link EtcdCluster.start}. @param {Servers} servers @param {Member[]} members @param {string} program */
  constructor(servers, members, program) {
    super(servers, members)
    this.#program = program
  }

  /** @param {Servers} servers @param {string} [program] */
  static async start(servers, program = 'etcd') {
    const members = await Promise.all(NAMES.map((name) => createMember(servers, name)))
    const cluster = new EtcdCluster(servers, members, program)
    await Promise.all(members.map((member) => cluster.run(member)))
    await cluster.untilLeader()
    // Until the members have agreed on a version, the leader writes by itself.
    await servers.until('the version of the cluster is known', async () => {
      const response = await fetch(`http://127.0.0.1:${cluster.leader.port}/version`)
      const version = /** @type {{ etcdserver: string, etcdcluster: string }} */ (
        await response.json()
      )
      return version.etcdcluster.split('.')[1] === version.etcdserver.split('.')[1]
    })
    await cluster.write(1)
    await cluster.untilCaughtUp()
    return cluster
  }

  /** @override */
  get nodes() {
    return this.#all.map(({ name }) => name)
  }

  /** The members and the learners. */
  get #all() {
    return [...this.members, ...this.#learners]
  }

  /** @override @param {string} name */
  member(name) {
    return this.#learners.find((each) => each.name === name) ?? super.member(name)
  }

  /** Finds a leader that was elected, too. @param {string} name */
  async stateOf(name) {
    const { header, leader = '0', raftIndex, raftAppliedIndex, raftTerm } = await this.status(name)
    const leads = leader === header.member_id
    if (leads) this.setLeader(this.member(name))
    const position = BigInt(leads ? raftIndex : raftAppliedIndex)
    const received = BigInt(raftIndex)
    return { position, received, leads, linked: leader !== '0', term: Number(raftTerm) }
  }

  /** @override @param {string} name */
  async leaderOf(name) {
    const { leader = '' } = await this.status(name)
    return this.#names.get(leader)
  }

  /** The URLs of all members and learners, through their gates. */
  get endpoints() {
    return this.#all.map(({ name }) => this.endpointOf(name))
  }

  /** @param {string} name */
  endpointOf(name) {
    return `http://127.0.0.1:${this.member(name).gate.port}`
  }

  get url() {
    return `etcd+http://${this.members.map(({ gate }) => `127.0.0.1:${gate.port}`).join(',')}`
  }

  /** @param {import('./system.js').ConnectOptions} [options] */
  connect({ source = {} } = {}) {
    const { endpoints, shard } = this
    return this.connectedBy(etcdSource({ endpoints, shard, ...source }))
  }

  /** @param {number} count */
  async write(count) {
    for (let i = 0; i < count; i++) {
      const entry = { key: btoa(`key ${i % 10}`), value: btoa(`${i}`) }
      await this.ask(this.leaderName, 'kv/put', entry)
    }
  }

  /** @override @param {string} [follower] */
  async position(follower = this.leaderName) {
    const status = await this.status(follower)
    const isLeader = follower === this.leaderName
    return BigInt(isLeader ? status.raftIndex : status.raftAppliedIndex)
  }

  /** @override @param {string} follower */
  async cut(follower) {
    const member = this.member(follower)
    const { header } = await this.status(follower)
    // It dials the other members, and they dial it.
    const isFrom = `X-Server-From: ${BigInt(header.member_id).toString(16)}\r\n`.toLowerCase()
    for (const { peerGate } of this.members) {
      peerGate.close(
        (greeting) => peerGate === member.peerGate || greeting.toLowerCase().includes(isFrom),
      )
    }
  }

  /** @override @param {string} follower @param {number} bytesPerSecond */
  throttle(follower, bytesPerSecond) {
    this.member(follower).peerGate.throttle(bytesPerSecond)
  }

  /** Removes old revisions of the keys. */
  async truncate() {
    const answer = await this.ask(this.leaderName, 'kv/range', { key: btoa('key') })
    const { header } = /** @type {{ header: { revision: string } }} */ (answer)
    await this.ask(this.leaderName, 'kv/compaction', { revision: header.revision })
  }

  /** @override */
  async mend() {
    for (const { peerGate } of this.members) peerGate.reopen()
    return Promise.resolve()
  }

  /** Removes all data, and starts a cluster of the same flags. */
  async rebuild() {
    await Promise.all(this.members.map(({ name }) => this.kill(name)))
    for (const { name } of this.members) await this.#removeData(name)
    await Promise.all(this.members.map((member) => this.run(member)))
    await this.untilCaughtUp()
  }

  async addFollower() {
    const name = 'learner'
    await this.addLearner(name)
    await this.startLearner(name)
    return name
  }

  /** @param {string} follower */
  async removeFollower(follower) {
    const { header } = await this.status(follower)
    await this.removeLearner(follower, header.member_id)
  }

  /** A member without its data would not be let in again. So it is removed, and added as another one of its name. */
  async wipe(/** @type {string} */ follower) {
    const member = this.member(follower)
    const { header } = await this.status(follower)
    await this.kill(follower)
    await this.#remove(header.member_id)
    await this.#removeData(follower)
    const peerURLs = [`http://127.0.0.1:${member.peerGate.port}`]
    await this.servers.until('the member is added', () =>
      this.ask(this.leaderName, 'cluster/member/add', { peerURLs }),
    )
    await this.run(member, 'existing')
    await this.untilCaughtUp()
  }

  /** Adds a member that has no vote. It is not started yet. Returns its id. @param {string} name */
  async addLearner(name) {
    const member = await createMember(this.servers, name)
    // One of this name may have been removed.
    await this.#removeData(name)
    const question = { isLearner: true, peerURLs: [`http://127.0.0.1:${member.peerGate.port}`] }
    // The leader refuses until it has been connected to its followers for five seconds.
    const added = await this.servers.until('the learner is added', () =>
      this.ask(this.leaderName, 'cluster/member/add', question),
    )
    this.#learners.push(member)
    return /** @type {{ member: { ID: string } }} */ (added).member.ID
  }

  /** Starts an added learner, and waits until it has caught up. @param {string} name */
  async startLearner(name) {
    await this.run(this.member(name), 'existing')
    await this.servers.until('the learner has caught up', async () => {
      return (await this.position(name)) === (await this.position())
    })
  }

  /** Removes a learner, and stops it. @param {string} name @param {string} ID */
  async removeLearner(name, ID) {
    await this.#remove(ID)
    await this.kill(name)
    this.#learners = this.#learners.filter((each) => each.name !== name)
  }

  /** @param {string} ID */
  #remove(ID) {
    // The leader refuses until it has been connected to its followers for five seconds.
    return this.servers.until('the member is removed', () =>
      this.ask(this.leaderName, 'cluster/member/remove', { ID }),
    )
  }

  /** @param {string} name */
  async #removeData(name) {
    await rm(join(await this.servers.folderOf(name), 'data'), { recursive: true, force: true })
  }

  /** Restarts a member under another name, or under its own again. Returns that name. @param {string} follower */
  async rename(follower) {
    const suffix = '-renamed'
    const name = follower.endsWith(suffix) ? follower.slice(0, -suffix.length) : follower + suffix
    const member = this.member(follower)
    await this.kill(follower)
    await rename(await this.servers.folderOf(follower), await this.servers.folderOf(name))
    member.name = name
    await this.run(member)
    await this.servers.until(`the members know ${name}`, async () => {
      const answer = await this.ask(this.leaderName, 'cluster/member/list')
      const { members } = /** @type {{ members: { name?: string }[] }} */ (answer)
      return members.some((each) => each.name === name)
    })
    await this.untilCaughtUp()
    return name
  }

  /** Restarts a member so that clients reach it at another URL. @param {string} name */
  async moveMember(name) {
    const member = this.member(name)
    await this.kill(name)
    member.port = await freePort()
    member.gate = await this.servers.gate(member.port)
    await this.restart(name)
  }

  /** @param {string} name @returns {Promise<Status>} */
  async status(name) {
    const status = /** @type {Status} */ (await this.ask(name, 'maintenance/status'))
    this.#names.set(status.header.member_id, name)
    return status
  }

  /**
   * Asks a member itself, past its gate.
   *
   * @param {string} name
   * @param {string} path
   * @param {object} [question]
   * @returns {Promise<unknown>}
   */
  async ask(name, path, question = {}) {
    const response = await fetch(`http://127.0.0.1:${this.member(name).port}/v3/${path}`, {
      method: 'POST',
      body: JSON.stringify(question),
      signal: AbortSignal.timeout(5_000),
    })
    /** @type {unknown} */
    const answer = await response.json()
    if (!response.ok) throw new Error(`${name} ${path}: ${JSON.stringify(answer)}`)
    return answer
  }

  /** @override @param {Member} member @param {'new' | 'existing'} [state] of the cluster */
  async run(member, state = 'new') {
    const { name, port, gate, peerPort, peerGate } = member
    const peers = this.#all.map((each) => `${each.name}=http://127.0.0.1:${each.peerGate.port}`)
    const parameters = {
      name: name,
      'data-dir': 'data',
      'listen-client-urls': `http://127.0.0.1:${port}`,
      'advertise-client-urls': `http://127.0.0.1:${gate.port}`,
      'listen-peer-urls': `http://127.0.0.1:${peerPort}`,
      'initial-advertise-peer-urls': `http://127.0.0.1:${peerGate.port}`,
      'initial-cluster': peers.join(','),
      'initial-cluster-state': state,
      'heartbeat-interval': 50,
      'election-timeout': 500,
      logger: 'zap',
      'log-level': 'warn',
    }
    const flags = Object.entries(parameters).map(([flag, value]) => `--${flag}=${value}`)
    member.server = await this.servers.start(name, this.#program, [...flags, '--pre-vote'])
  }
}

/** @param {Servers} servers @param {string} name */
async function createMember(servers, name) {
  const [port, peerPort] = [await freePort(), await freePort()]
  const [gate, peerGate] = [await servers.gate(port), await servers.gate(peerPort)]
  return { name, port, gate, peerPort, peerGate }
}
