/**
 * @typedef {object} Replica
 * @property {string} name
 * @property {number} port
 * @property {import('./servers.mjs').Server | undefined} server
 * @property {import('./gate.mjs').Gate | undefined} link what it replicates through while it follows
 */

/**
 * One leader and its replicas, each of which is a server.
 *
 * @template {Replica} Member
 */
export class Members {
  /** @type {Member} */
  leader

  /** @param {readonly Member[]} members the leader first */
  constructor(members) {
    this.members = members
    this.leader = /** @type {Member} */ (members[0])
  }

  /** @param {Member} member which leads from now on */
  setLeader(member) {
    this.leader = member
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

  get ports() {
    return Object.fromEntries(this.members.map(({ name, port }) => [name, port]))
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

  /** @param {string} name */
  resume(name) {
    this.member(name).server?.thaw()
    return Promise.resolve()
  }
}
