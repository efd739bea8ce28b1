import { append } from '../shared/groups.js'

/** What a server says of itself, as far as it matters for which node leads. */
export interface ServerState {
  /** What must be its own: `server_uuid` or `server_id`. */
  readonly id: string
  /** Its host and port, as it knows them. */
  readonly address: string
  /** `undefined` if it is unknown. */
  readonly isReadOnly: boolean | undefined
  /** From which servers it replicates. `undefined` if that cannot be seen. */
  readonly links: readonly Link[] | undefined
  /** Whether the user lacks the privilege to see it. */
  readonly isHidden: boolean
  /** What could not be read. */
  readonly problems: readonly string[]
  /** The replication group that it is an active member of. */
  readonly group?: string | undefined
}

/** A connection of a server to one that it replicates from. */
export interface Link {
  /** The id of that server; empty while it is unknown. */
  readonly leader: string
  /** Where it connects to, of a server that forgets the id. */
  readonly address?: string
  readonly isOn: boolean
  /** Whether it does not even try to connect. */
  readonly isStopped: boolean
}

/** Which node leads, or why that is not known. */
export type Verdict =
  /** `rivals` accept writes too, and follow no node. */
  | { kind: 'leader'; leader: string; rivals: string[]; isCascading: boolean }
  /** Several nodes can be the leader. */
  | { kind: 'rivals'; names: string[] }
  /** The leader must be one of these, which do not answer. */
  | { kind: 'silent'; names: string[] }
  /** All nodes follow servers that are not among them. */
  | { kind: 'outside' }

/** Which server a node follows, where that is not the name of another one. */
const OUTSIDE = Symbol('a server that is not among the nodes')
const UNREACHABLE = Symbol('one of the nodes that have never answered')
type Target = string | typeof OUTSIDE | typeof UNREACHABLE

/** Which nodes of a system follow which others. */
export class Topology<State extends ServerState> {
  /** The servers behind the nodes, each under the first of its names, including those that do not answer now. */
  private readonly servers = new Map<string, State>()
  /** The names of the servers by what should be their own, and those of the primaries of each replication group. */
  private readonly byId = new Map<string, string[]>()
  private readonly primaries = new Map<string, string[]>()
  /** The first name of each server that answers, by its other names. */
  readonly aliases = new Map<string, string>()
  private readonly silent: readonly string[]
  private readonly unknown: readonly string[]
  private readonly targets: ReadonlyMap<string, ReadonlySet<Target>>
  /** What a node that answers follows. */
  private readonly followed: ReadonlySet<Target>

  /**
   * @param names of all nodes.
   * @param answers the newest answers.
   * @param known the last answers of all nodes, including those that do not answer now.
   * @param isAhead whether a server has written transactions that another one does not have.
   */
  constructor(
    names: readonly string[],
    private readonly answers: ReadonlyMap<string, State>,
    known: ReadonlyMap<string, State>,
    private readonly isAhead: (state: State, other: State) => boolean,
  ) {
    this.silent = names.filter((name) => !answers.has(name))
    this.unknown = this.silent.filter((name) => !known.has(name))
    for (const name of names) this.addServer(name, answers.get(name))
    for (const name of this.silent) this.addServer(name, known.get(name))
    const targets = [...this.servers].map(
      ([name, state]) => [name, new Set(this.targetsOf(name, state))] as const,
    )
    this.targets = new Map(targets)
    this.followed = new Set(
      targets.flatMap(([name, each]) => (this.answers.has(name) ? [...each] : [])),
    )
  }

  private addServer(name: string, state: State | undefined): void {
    if (!state) return
    const { id, address, group, isReadOnly } = state
    const same = this.byId.get(id)?.find((each) => this.servers.get(each)?.address === address)
    if (same !== undefined) {
      if (this.answers.has(name)) this.aliases.set(name, same)
      return
    }
    this.servers.set(name, state)
    append(this.byId, id, name)
    if (group !== undefined && isReadOnly === false) append(this.primaries, group, name)
  }

  private *targetsOf(name: string, state: State): Iterable<Target> {
    if (state.group !== undefined && state.isReadOnly !== false) {
      const primaries = this.primaries.get(state.group) ?? []
      yield* primaries
      if (primaries.length === 0) yield this.unknown.length > 0 ? UNREACHABLE : OUTSIDE
    }
    // A server that only reads is assumed to follow.
    if (!state.links && state.isReadOnly) yield this.unknown.length > 0 ? UNREACHABLE : OUTSIDE
    for (const link of state.links ?? []) {
      const found = (this.byId.get(link.leader) ?? []).filter((other) => other !== name)
      for (const other of found) if (!this.hasLeft(link, state, other)) yield other
      // Servers also name themselves.
      if (found.length > 0 || link.leader === state.id || this.hasLeft(link, state)) continue
      const candidates = link.leader === '' ? this.silent : this.unknown
      yield candidates.length > 0 ? UNREACHABLE : OUTSIDE
    }
  }

  /** Whether a link is only what is left from the time before a server was promoted. */
  private hasLeft(link: Link, state: State, leader?: string): boolean {
    if (!link.isStopped || state.isReadOnly !== false) return false
    const known = leader === undefined ? undefined : this.servers.get(leader)
    if (!known || this.isAhead(state, known)) return true
    // While its leader is away, it may be stopped for a while only, unless others follow it.
    return !this.answers.has(leader as string) && this.isFollowed(state)
  }

  private isFollowed({ id }: State): boolean {
    return [...this.answers.values()].some(({ links }) =>
      links?.some(({ leader }) => leader === id),
    )
  }

  findLeader(): Verdict {
    const names = [...this.servers.keys()]
    const isAnswering = (name: string) => this.answers.has(name)
    const isTop = (name: string) =>
      [...(this.targets.get(name) as ReadonlySet<Target>)].every((target) => target === OUTSIDE)

    const followed = names.filter((name) => isTop(name) && this.followed.has(name))
    if (followed.some(isAnswering)) return this.choose(followed.filter(isAnswering))
    const roots = names.filter((name) => isAnswering(name) && this.isRoot(name))
    const isPromoted = roots.some((name) => this.accepts(name))
    const silent =
      followed.length > 0 ? followed : this.followed.has(UNREACHABLE) ? this.silent : []
    if (silent.length > 0 && !isPromoted) return { kind: 'silent', names: [...silent] }
    // Without a follower that answers, a node that only reads, or may follow another one, need not be the leader.
    const candidates = this.silent.filter((name) => this.canLead(name))
    if (roots.length > 0 && (candidates.length === 0 || isPromoted)) return this.choose(roots)
    // Servers that follow each other.
    const circle = names.filter(
      (name) => isAnswering(name) && this.followed.has(name) && this.mayAccept(name),
    )
    if (circle.length > 0) return this.choose(circle)
    return this.silent.length > 0
      ? { kind: 'silent', names: candidates.length > 0 ? candidates : [...this.silent] }
      : { kind: 'outside' }
  }

  /** Chooses the only one that accepts writes. */
  private choose(names: readonly string[]): Verdict {
    const writable = names.filter((name) => this.mayAccept(name))
    const chosen = writable.length > 0 ? writable : [...names]
    if (chosen.length > 1) return { kind: 'rivals', names: chosen }
    const leader = chosen[0] as string
    const isRival = (name: string) =>
      name !== leader &&
      this.answers.has(name) &&
      this.isRoot(name) &&
      this.accepts(name) &&
      this.servers.get(name)?.isReadOnly === false
    const rivals = [...this.servers.keys()].filter(isRival)
    return { kind: 'leader', leader, rivals, isCascading: !this.isRoot(leader) }
  }

  private isRoot(name: string): boolean {
    return this.targets.get(name)?.size === 0
  }

  /** Whether a server may accept writes, and it is known which ones it follows. */
  private accepts(name: string): boolean {
    return this.mayAccept(name) && this.servers.get(name)?.links !== undefined
  }

  private mayAccept(name: string): boolean {
    return this.servers.get(name)?.isReadOnly !== true
  }

  /** Whether a node that does not answer can be the leader. */
  private canLead(name: string): boolean {
    return this.unknown.includes(name) || (this.isRoot(name) && this.mayAccept(name))
  }
}
