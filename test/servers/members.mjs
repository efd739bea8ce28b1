/** @import { Gate } from './gate.mjs' */
/** @import { Server, Servers } from './servers.mjs' */

/**
 * @typedef {object} Replica
 * @property {string} name
 * @property {number} port
 * @property {Server | undefined} [server]
 * @property {Gate | undefined} [link] what it replicates through while it follows
 */

/** One leader and its replicas, each of which is a server. @template {Replica} Member */
export class Members {
  /** @type {Member} */
  leader

  /** @param {readonly Member[]} members the leader first */
  constructor(members) {
    /** @type {readonly Member[]} */
    this.members = members
    this.leader = /** @type {Member} */ (members[0])
  }

  /** @param {Member} member which leads from now on */
  setLeader(member) {
    this.leader = member
  }

  /** @param {readonly Member[]} members the leader among them */
  setMembers(members) {
    this.members = members
  }

  get replicas() {
    const others = this.members.filter((member) => member !== this.leader)
    return /** @type {[Member, Member]} */ (others)
  }

  /** @returns {[string, string]} */
  get followers() {
    const [first, second] = this.replicas
    return [first.name, second.name]
  }

  get leaderName() {
    return this.leader.name
  }

  get nodes() {
    return this.members.map(({ name }) => name)
  }

  /** @param {string} name */
  member(name) {
    const found = this.members.find((member) => member.name === name)
    if (!found) throw new Error(`there is no member ${name}`)
    return found
  }

  /** @param {string} follower */
  cut(follower) {
    this.member(follower).link?.close()
    return Promise.resolve()
  }

  /** @param {string} follower */
  mend(follower) {
    this.member(follower).link?.reopen()
    return Promise.resolve()
  }

  /** @param {string} follower @param {number} bytesPerSecond */
  throttle(follower, bytesPerSecond) {
    this.member(follower).link?.throttle(bytesPerSecond)
  }

  freeze() {
    return this.pause(this.leader.name)
  }

  thaw() {
    return this.resume(this.leader.name)
  }

  /** @param {string} name */
  pause(name) {
    this.member(name).server?.freeze()
    return Promise.resolve()
  }

  /** @param {string} name @returns {Promise<void>} */
  resume(name) {
    this.member(name).server?.thaw()
    return Promise.resolve()
  }

  /** @param {string} name */
  async kill(name) {
    await this.member(name).server?.kill()
  }
}

/**
 * Members that elect their leader. Clients of sources reach each of them through its gate.
 *
 * @abstract
 * @template {Replica & { readonly gate: Gate }} Member
 * @extends {Members<Member>}
 */
export class Voters extends Members {
  elects = true
  /** The leader that was frozen. Another one may lead since. @type {Member | undefined} */
  #frozen

  /** @param {Servers} servers @param {readonly Member[]} members */
  constructor(servers, members) {
    super(members)
    this.servers = servers
  }

  /** Returns the name of the leader, as a member knows it. @abstract @param {string} name @returns {Promise<string | undefined>} */
  leaderOf(name) {
    return Promise.reject(new Error(name))
  }

  /** @abstract @param {string} [name] @returns {Promise<bigint>} */
  position(name) {
    return Promise.reject(new Error(name))
  }

  /** Starts a member that does not run. @abstract @param {Member} member @returns {Promise<unknown>} */
  run(member) {
    return Promise.reject(new Error(member.name))
  }

  /** Whether the leader says that all others have caught up. @returns {Promise<boolean>} */
  isCurrent() {
    return Promise.resolve(true)
  }

  get gates() {
    return Object.fromEntries(this.members.map(({ name, gate }) => [name, gate]))
  }

  /** @param {import('./system.js').Connected['source']} source */
  connectedBy(source) {
    const { gate } = this.leader
    return Promise.resolve({ source, gate, gates: this.gates, close: () => Promise.resolve() })
  }

  /** @override */
  freeze() {
    this.#frozen = this.leader
    return this.pause(this.leader.name)
  }

  /** @override */
  thaw() {
    return this.resume(this.#frozen?.name ?? '')
  }

  /** @override @param {string} name */
  async resume(name) {
    await super.resume(name)
    await this.untilCaughtUp()
  }

  /** @param {string} follower */
  async restart(follower) {
    await this.run(this.member(follower))
    await this.untilCaughtUp()
  }

  /** The killed leader comes back as a follower: two members without it would not survive the next loss. */
  async failOver() {
    const killed = this.leader.name
    const [first, second] = this.followers
    await this.kill(killed)
    await this.servers.until('another member leads', async () => {
      return [first, second].includes((await this.leaderOf(first)) ?? '')
    })
    await this.restart(killed)
    return this.leader.name === first ? second : first
  }

  /** Waits until all members agree on a leader. */
  async untilLeader() {
    await this.servers.until('all members know one leader', async () => {
      const names = await Promise.all(this.members.map(({ name }) => this.leaderOf(name)))
      const leader = this.members.find(({ name }) => names.every((each) => each === name))
      if (leader) this.setLeader(leader)
      return leader !== undefined
    })
  }

  async untilCaughtUp() {
    await this.untilLeader()
    const end = await this.position()
    await this.servers.until('all members have caught up', async () => {
      await this.untilLeader()
      const positions = await Promise.all(this.members.map(({ name }) => this.position(name)))
      return (await this.isCurrent()) && positions.every((position) => position >= end)
    })
  }
}
