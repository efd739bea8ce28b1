import { orAborted } from '../shared/abort.js'
import { groupBy } from '../shared/groups.js'
import { Nodes, unreachable, type Moment, type Survey } from '../shared/nodes.js'
import type { FollowerReading } from '../source.js'
import { isGaleraNode, type MysqlClient } from './clients.js'
import { explain, listOf } from './errors.js'
import { Topology, type Link, type ServerState, type Verdict } from './topology.js'

/** A node that does not lead, and has answered. */
export interface FollowerAnswer<State> {
  readonly replica: string
  readonly answer: State
  /** Where the leader was then. `undefined` if it has not answered since: the two cannot be compared yet. */
  readonly leaderThen: Moment<State> | undefined
  /** Why its position says nothing about the follower of this name. */
  readonly mistake: string | undefined
  /** Whether it also replicates from a server that is not among the nodes. */
  readonly hasOtherLeaders: boolean
}

/** What to report of a node without an answer, or without a leader to compare it with. */
export interface LostNode {
  readonly replica: string
  readonly lost: FollowerReading
}

/** A node that does not lead. */
export type Found<State> = FollowerAnswer<State> | LostNode

/** The nodes of a system as one read has found them. */
export interface Reading<State> {
  /** `undefined` if several nodes claim to lead. */
  readonly leader: (State & { readonly name: string }) | undefined
  readonly isCascading: boolean
  readonly others: readonly Found<State>[]
  /** A state to learn the names of the shards from. */
  readonly any: State
  readonly problem: string | undefined
}

/** What the systems of the family do differently. */
export interface Dialect<State> {
  readonly title: string
  /** @param isLeader whether it led at the last read. */
  readonly ask: (client: MysqlClient, isLeader: boolean) => Promise<State>
  /** Whether a server has written transactions that another one does not have. */
  readonly isAhead: (state: State, other: State) => boolean
  /** What must be its own of a server. */
  readonly idName: string
  /** What to run so that the user sees the state of replication. */
  readonly grant: string
  /** What keeps a replica from accepting writes. */
  readonly readOnly: string
}

/** The nodes of one system. It finds out which one leads. */
export class Family<State extends ServerState> {
  private readonly nodes: Nodes<State>
  /** The last answer of each node. Who it was, and whom it followed, is still of use when it no longer answers. */
  private readonly known = new Map<string, State>()
  private leader: string | undefined

  constructor(
    private readonly dialect: Dialect<State>,
    private readonly clients: ReadonlyMap<string, MysqlClient>,
  ) {
    const questions = [...clients].map(
      ([name, client]) => [name, () => this.ask(name, client)] as const,
    )
    this.nodes = new Nodes((answers) => leadersOf(this.topologyOf(answers).findLeader()), questions)
  }

  private topologyOf(answers: ReadonlyMap<string, State>): Topology<State> {
    return new Topology([...this.clients.keys()], answers, this.known, this.dialect.isAhead)
  }

  /** Asks a node. MariaDB forgets the ids of its leaders when it restarts, until it has connected again. */
  private async ask(name: string, client: MysqlClient): Promise<State> {
    const state = await this.dialect.ask(client, name === this.leader)
    const before = this.known.get(name)?.links ?? []
    const links = state.links?.map((link) => {
      const isSame = ({ address }: Link) => address !== undefined && address === link.address
      return { ...link, leader: link.leader || (before.find(isSame)?.leader ?? '') }
    })
    return { ...state, links }
  }

  /** @throws Error that says why no leader can be read. */
  async read(signal: AbortSignal, timeoutMillis?: number): Promise<Reading<State>> {
    const survey = await this.nodes.read(signal, timeoutMillis)
    for (const [name, state] of survey.newest) this.known.set(name, state)
    const topology = this.topologyOf(survey.newest)
    const verdict = topology.findLeader()
    if (verdict.kind === 'outside') {
      throw new Error(
        `${this.dialect.title}: no node leads: ${listOf([...this.clients.keys()])} follow servers that are not in nodes. Add their leader to nodes`,
      )
    }
    if (verdict.kind === 'silent') throw this.silenceOf(survey, verdict.names)
    const problems = this.problemsOf(survey, topology)
    if (verdict.kind === 'rivals') {
      const hidden = verdict.names.find((name) => !survey.newest.get(name)?.links)
      if (hidden !== undefined) throw this.blindnessOf(hidden, survey.newest.get(hidden) as State)
      const problem = await this.describeRivals(survey, verdict.names, signal)
      const others = [...survey.answers].map(([replica, outcome]) => ({
        replica,
        lost:
          'error' in outcome ? this.lose(replica, outcome.error) : { replica, connected: false },
      }))
      const any = survey.newest.get(verdict.names[0] as string) as State
      const all = [problem, ...problems].join('. ')
      return { leader: undefined, isCascading: false, others, any, problem: all }
    }
    const { leader, rivals, isCascading } = verdict
    this.leader = leader
    const newest = survey.last(leader)
    if (!newest) throw this.silenceOf(survey, [leader])
    const unread = newest.answer.problems
    if (unread.length > 0) problems.push(`leader ${leader}: ${unread.join(', ')}`)
    if (rivals.length > 0) {
      problems.unshift(await this.describeRivals(survey, [leader, ...rivals], signal))
    }
    return {
      leader: { ...newest.answer, name: leader },
      isCascading,
      others: this.othersOf(survey, topology, leader),
      any: newest.answer,
      problem: problems.length > 0 ? problems.join('. ') : undefined,
    }
  }

  private othersOf(
    survey: Survey<State>,
    topology: Topology<State>,
    leader: string,
  ): Found<State>[] {
    const others: Found<State>[] = []
    const ids = new Set(['', ...[...this.known.values()].map(({ id }) => id)])
    const mistakeOf = this.findMistakes(survey, topology)
    for (const [replica, outcome] of survey.answers) {
      if ('error' in outcome) {
        others.push({ replica, lost: this.lose(replica, outcome.error) })
      } else if (replica !== leader && topology.aliases.get(replica) !== leader) {
        const { answer } = outcome
        others.push({
          replica,
          answer,
          leaderThen: survey.leaderWhen(leader, replica),
          mistake: mistakeOf(replica),
          hasOtherLeaders: answer.links?.some((link) => !ids.has(link.leader)) === true,
        })
      }
    }
    return others
  }

  private lose(replica: string, error: unknown): FollowerReading {
    return unreachable(replica, this.explain('', replica, error))
  }

  /** Returns a function that says why the position of a node is that of another one, or may be. */
  private findMistakes({ newest }: Survey<State>, { aliases }: Topology<State>) {
    const shared = new Set([...aliases.keys(), ...aliases.values()])
    const byId = groupBy(newest, ([, { id }]) => id)
    return (replica: string): string | undefined => {
      if (shared.has(replica)) return 'its client reaches the same server as that of another node'
      const { id } = newest.get(replica) as State
      const found = byId.get(id) as [string, State][]
      const same = found.map(([name]) => name).filter((name) => name !== replica)
      if (same.length === 0) return undefined
      return `its ${this.dialect.idName} is also that of ${listOf(same)}: give each server its own`
    }
  }

  /** What is wrong with the system, apart from its leader. */
  private problemsOf(survey: Survey<State>, { aliases }: Topology<State>): string[] {
    const problems = []
    for (const first of new Set(aliases.values())) {
      const others = [...aliases].filter(([, each]) => each === first).map(([name]) => name)
      problems.push(
        `${listOf([first, ...others])} reach the same server: give each node its own address, not that of a proxy or one that moves`,
      )
    }
    const isHidden = (name: string) => survey.newest.get(name)?.isHidden === true
    const hidden = [...this.clients.keys()].filter(isHidden)
    if (hidden.length > 0) {
      problems.push(
        `the replication state of ${listOf(hidden)} cannot be seen, so followers there count as not connected: ${this.dialect.grant}`,
      )
    }
    return problems
  }

  private async describeRivals(
    survey: Survey<State>,
    names: readonly string[],
    signal: AbortSignal,
  ): Promise<string> {
    const first = names.find((name) => this.clients.has(name)) as string
    const isGalera = await orAborted(isGaleraNode(this.clients.get(first) as MysqlClient), signal)
    if (isGalera) {
      return `${listOf(names)} are nodes of a Galera cluster, which has no leader: list one of them with its asynchronous replicas, and watch wsrep_local_recv_queue_avg for the cluster`
    }
    const groups = new Set(names.map((name) => survey.newest.get(name)?.group))
    const [group] = groups
    if (groups.size === 1 && group !== undefined) {
      return `${listOf(names)} all accept writes in one replication group: the source needs single-primary mode`
    }
    const ids = new Set(names.map((name) => survey.newest.get(name)?.id))
    const follow = (name: string) =>
      survey.newest.get(name)?.links?.some(({ leader }) => ids.has(leader))
    if (names.every(follow)) {
      return `${listOf(names)} follow each other and accept writes: set ${this.dialect.readOnly} on all but the one that is written to`
    }
    return `${names.length === 2 ? 'two' : names.length} nodes claim to lead: ${listOf(names)} do not follow each other. Make all but one a replica, and set ${this.dialect.readOnly} on it`
  }

  private silenceOf({ failures }: Survey<State>, names: readonly string[]): Error {
    const [first = ''] = names
    // Only what has answered before is known to lead.
    const isKnown = names.length === 1 && this.known.has(first)
    const error = this.explain(isKnown ? ' leader' : '', first, failures.get(first))
    if (isKnown) return error
    const { title } = this.dialect
    return new Error(
      `${title}: no node that answers leads, and ${listOf(names)} cannot be read. ${error.message}`,
    )
  }

  private blindnessOf(name: string, { isHidden, problems }: State): Error {
    const { title, grant, readOnly } = this.dialect
    const reason = isHidden
      ? `the user may not see the replication state: ${grant}, or set ${readOnly} on all replicas`
      : problems.join(', ')
    return new Error(`${title}: which node leads is unknown. ${name}: ${reason}`)
  }

  private explain(role: string, name: string, error: unknown): Error {
    return explain(`${this.dialect.title}${role}`, name, this.clients.get(name), error)
  }
}

function leadersOf(verdict: Verdict): readonly string[] {
  if (verdict.kind === 'leader') return [verdict.leader]
  return verdict.kind === 'rivals' ? verdict.names : []
}
