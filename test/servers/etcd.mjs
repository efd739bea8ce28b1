import { access, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { etcdSource } from 'opentelemetry-instrumentation-replication-lag/sources/etcd'
import { freePort } from './postgres/processes.mjs'
import { cacheFolder, isOnPath } from './servers.mjs'

const NAMES = ['e1', 'e2', 'e3']

/** @typedef {Awaited<ReturnType<typeof createMember>>} Member */

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
 *   start(servers: import('./servers.mjs').Servers): Promise<EtcdCluster>
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

/** Three members. Each is reached through gates: one for its clients, and one for the other members. */
export class EtcdCluster {
  shard = 'registry'
  elects = true
  #servers
  #program
  /** @type {Member[]} */
  #members
  /** @type {Member[]} */
  #learners = []
  /** @type {Member} */
  #leader
  /** The leader that was frozen. Another one may lead since. @type {Member | undefined} */
  #frozen
  /** @type {Map<Member, import('./servers.mjs').Server>} */
  #processes = new Map()

  /**
   * Use {@link EtcdCluster.start}.
   *
   * @param {import('./servers.mjs').Servers} servers
   * @param {[Member, ...Member[]]} members
   * @param {string} program
   */
  constructor(servers, members, program) {
    this.#servers = servers
    this.#program = program
    this.#members = members
    this.#leader = members[0]
  }

  /**
   * @param {import('./servers.mjs').Servers} servers
   * @param {string} [program]
   */
  static async start(servers, program = 'etcd') {
    const [first, ...others] = await Promise.all(NAMES.map((name) => createMember(servers, name)))
    if (!first) throw new Error('no member')
    const cluster = new EtcdCluster(servers, [first, ...others], program)
    await Promise.all(cluster.#members.map((member) => cluster.#run(member)))
    await cluster.#untilLeader()
    // Until the members have agreed on a version, the leader writes by itself.
    await servers.until('the version of the cluster is known', async () => {
      const response = await fetch(`http://127.0.0.1:${cluster.#leader.port}/version`)
      const version = /** @type {{ etcdserver: string, etcdcluster: string }} */ (
        await response.json()
      )
      return version.etcdcluster.split('.')[1] === version.etcdserver.split('.')[1]
    })
    await cluster.write(1)
    await cluster.#untilCaughtUp()
    return cluster
  }

  /** The members that do not lead, in the order of their names. @returns {[string, string]} */
  get followers() {
    const [first, second] = this.#members.filter((member) => member !== this.#leader)
    return [first?.name ?? '', second?.name ?? '']
  }

  get leader() {
    return this.#leader.name
  }

  get leaderName() {
    return this.leader
  }

  get nodes() {
    return [...this.#members, ...this.#learners].map(({ name }) => name)
  }

  /** Finds a leader that was elected, too. @param {string} name */
  async stateOf(name) {
    const { header, leader = '0', raftIndex, raftAppliedIndex, raftTerm } = await this.status(name)
    const leads = leader === header.member_id
    if (leads) this.#leader = this.#member(name)
    const position = BigInt(leads ? raftIndex : raftAppliedIndex)
    return { position, leads, linked: leader !== '0', term: Number(raftTerm) }
  }

  /** The URLs of all members and learners, through their gates. */
  get endpoints() {
    return [...this.#members, ...this.#learners].map(({ name }) => this.endpointOf(name))
  }

  /** @param {string} name */
  endpointOf(name) {
    return `http://127.0.0.1:${this.#member(name).gate.port}`
  }

  get url() {
    return `etcd+http://${this.#members.map(({ gate }) => `127.0.0.1:${gate.port}`).join(',')}`
  }

  get gates() {
    return Object.fromEntries(this.#members.map(({ name, gate }) => [name, gate]))
  }

  /** @param {import('./system.js').ConnectOptions} [options] */
  connect({ source = {} } = {}) {
    const { endpoints, shard } = this
    return Promise.resolve({
      source: etcdSource({ endpoints, shard, ...source }),
      gate: this.#leader.gate,
      gates: this.gates,
      close: () => Promise.resolve(),
    })
  }

  /** @param {number} count */
  async write(count) {
    for (let i = 0; i < count; i++) {
      await this.ask(this.leader, 'kv/put', { key: btoa(`key ${i % 10}`), value: btoa(`${i}`) })
    }
  }

  /** @param {string} [follower] */
  async position(follower = this.leader) {
    const status = await this.status(follower)
    const isLeader = follower === this.leader
    return BigInt(isLeader ? status.raftIndex : status.raftAppliedIndex)
  }

  /** @param {string} follower */
  async cut(follower) {
    const member = this.#member(follower)
    const { header } = await this.status(follower)
    // It dials the other members, and they dial it.
    const isFrom = `X-Server-From: ${BigInt(header.member_id).toString(16)}\r\n`.toLowerCase()
    for (const { peerGate } of this.#members) {
      peerGate.close(
        (greeting) => peerGate === member.peerGate || greeting.toLowerCase().includes(isFrom),
      )
    }
  }

  async mend() {
    for (const { peerGate } of this.#members) peerGate.reopen()
    return Promise.resolve()
  }

  /** @param {string} follower */
  async kill(follower) {
    await this.#processes.get(this.#member(follower))?.kill()
  }

  /** @param {string} follower */
  async restart(follower) {
    await this.#run(this.#member(follower))
    await this.#untilCaughtUp()
  }

  async freeze() {
    this.#frozen = this.#leader
    this.#processes.get(this.#leader)?.freeze()
    return Promise.resolve()
  }

  async thaw() {
    if (this.#frozen) this.#processes.get(this.#frozen)?.thaw()
    await this.#untilCaughtUp()
  }

  /** @param {string} follower */
  async pause(follower) {
    this.#processes.get(this.#member(follower))?.freeze()
    return Promise.resolve()
  }

  /** @param {string} follower */
  async resume(follower) {
    this.#processes.get(this.#member(follower))?.thaw()
    await this.#untilCaughtUp()
  }

  /** The killed leader comes back as a follower: two members without it would not survive the next loss. */
  async failOver() {
    const killed = this.leader
    const [first, second] = this.followers
    await this.kill(killed)
    await this.#servers.until('another member leads', async () => {
      const { leader, header } = await this.status(first)
      return leader !== undefined && (leader === header.member_id || (await this.#leads(second)))
    })
    await this.restart(killed)
    return this.leader === first ? second : first
  }

  /** Removes all data, and starts a cluster of the same flags. */
  async rebuild() {
    await Promise.all(this.#members.map(({ name }) => this.kill(name)))
    for (const { name } of this.#members) {
      await rm(join(await this.#servers.folderOf(name), 'data'), { recursive: true })
    }
    await Promise.all(this.#members.map((member) => this.#run(member)))
    await this.#untilCaughtUp()
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
    const member = this.#member(follower)
    const { header } = await this.status(follower)
    await this.kill(follower)
    await this.ask(this.leader, 'cluster/member/remove', { ID: header.member_id })
    await rm(join(await this.#servers.folderOf(follower), 'data'), { recursive: true })
    const peerURLs = [`http://127.0.0.1:${member.peerGate.port}`]
    await this.#servers.until('the member is added', () =>
      this.ask(this.leader, 'cluster/member/add', { peerURLs }),
    )
    await this.#run(member, 'existing')
    await this.#untilCaughtUp()
  }

  /** Adds a member that has no vote. It is not started yet. Returns its id. @param {string} name */
  async addLearner(name) {
    const member = await createMember(this.#servers, name)
    // One of this name may have been removed.
    const folder = await this.#servers.folderOf(name)
    await rm(join(folder, 'data'), { recursive: true, force: true })
    const question = { isLearner: true, peerURLs: [`http://127.0.0.1:${member.peerGate.port}`] }
    // The leader refuses until it has been connected to its followers for five seconds.
    const added = await this.#servers.until('the learner is added', () =>
      this.ask(this.leader, 'cluster/member/add', question),
    )
    this.#learners.push(member)
    return /** @type {{ member: { ID: string } }} */ (added).member.ID
  }

  /** Starts an added learner, and waits until it has caught up. @param {string} name */
  async startLearner(name) {
    await this.#run(this.#member(name), 'existing')
    await this.#servers.until('the learner has caught up', async () => {
      return (await this.position(name)) === (await this.position())
    })
  }

  /**
   * Removes a learner, and stops it.
   *
   * @param {string} name
   * @param {string} ID
   */
  async removeLearner(name, ID) {
    await this.ask(this.leader, 'cluster/member/remove', { ID })
    await this.kill(name)
    this.#learners = this.#learners.filter((each) => each.name !== name)
  }

  /**
   * Removes a member, and stops it. The cluster then has two, so that it does not survive the next loss.
   *
   * @param {string} name
   */
  async removeMember(name) {
    const { header } = await this.status(name)
    // The leader refuses until it has been connected to its followers for five seconds.
    await this.#servers.until('the member is removed', () =>
      this.ask(this.leader, 'cluster/member/remove', { ID: header.member_id }),
    )
    await this.kill(name)
    this.#members = this.#members.filter((each) => each.name !== name)
  }

  /** Restarts a member so that clients reach it at another URL. @param {string} name */
  async moveMember(name) {
    const member = this.#member(name)
    await this.kill(name)
    member.port = await freePort()
    member.gate = await this.#servers.gate(member.port)
    await this.restart(name)
  }

  /** @param {string} name */
  async #leads(name) {
    const { leader, header } = await this.status(name)
    return leader === header.member_id
  }

  /** @param {string} name @returns {Promise<Status>} */
  async status(name) {
    return /** @type {Status} */ (await this.ask(name, 'maintenance/status'))
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
    const response = await fetch(`http://127.0.0.1:${this.#member(name).port}/v3/${path}`, {
      method: 'POST',
      body: JSON.stringify(question),
      signal: AbortSignal.timeout(5_000),
    })
    /** @type {unknown} */
    const answer = await response.json()
    if (!response.ok) throw new Error(`${name} ${path}: ${JSON.stringify(answer)}`)
    return answer
  }

  /** @param {string} name */
  #member(name) {
    const member = [...this.#members, ...this.#learners].find((each) => each.name === name)
    if (!member) throw new Error(`there is no member ${name}`)
    return member
  }

  /** Waits until all members agree on a leader. */
  async #untilLeader() {
    await this.#servers.until('all members know one leader', async () => {
      const statuses = await Promise.all(this.#members.map(({ name }) => this.status(name)))
      const isOne = new Set(statuses.map(({ leader }) => leader)).size === 1
      const index = statuses.findIndex(({ leader, header }) => leader === header.member_id)
      const leading = this.#members[index]
      if (leading) this.#leader = leading
      return isOne && leading
    })
  }

  async #untilCaughtUp() {
    await this.#untilLeader()
    const end = await this.position()
    await this.#servers.until('all members have caught up', async () => {
      const positions = await Promise.all(this.#members.map(({ name }) => this.position(name)))
      return positions.every((position) => position >= end)
    })
  }

  /**
   * @param {Member} member
   * @param {'new' | 'existing'} state of the cluster
   */
  async #run(member, state = 'new') {
    const { name, port, gate, peerPort, peerGate } = member
    const known = [...this.#members, ...this.#learners]
    const peers = known.map((each) => `${each.name}=http://127.0.0.1:${each.peerGate.port}`)
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
    const server = await this.#servers.start(name, this.#program, [...flags, '--pre-vote'])
    this.#processes.set(member, server)
  }
}

/**
 * @param {import('./servers.mjs').Servers} servers
 * @param {string} name
 */
async function createMember(servers, name) {
  const [port, peerPort] = [await freePort(), await freePort()]
  const [gate, peerGate] = [await servers.gate(port), await servers.gate(peerPort)]
  return { name, port, gate, peerPort, peerGate }
}
