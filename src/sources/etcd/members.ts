import type { HttpServer } from '../shared/http.js'
import { Nodes, type Outcome, type Survey } from '../shared/nodes.js'
import { askMember, type Answer, type Member, type MemberList } from './answer.js'
import type { Endpoints, Route } from './endpoints.js'

/** Which member leads, and where it answered. */
export interface Leadership {
  readonly clusterId: bigint | undefined
  readonly leaderId: bigint | undefined
  /** Empty if it did not answer. */
  readonly leaderUrl: string
}

/** What was found in one read. */
export interface View extends Leadership {
  readonly endpoints: Endpoints
  readonly survey: Survey<Answer>
  /** The newest known members, and where each was asked. */
  readonly members: readonly Member[]
  readonly routes: ReadonlyMap<bigint, Route>
  /** The list that the leader gave. */
  readonly list: MemberList | undefined
  /** Why members did not give the list, by their URLs. */
  readonly listErrors: ReadonlyMap<string, unknown>
}

/** The members of a cluster. All are found from any one that votes, and each is asked in each read. */
export class Members {
  private readonly nodes: Nodes<Answer>
  private known: readonly Member[] = []
  /** Where it asks. */
  private urls: ReadonlySet<string>
  private clusterId: bigint | undefined
  /** Whether each member is asked for the list, because the leader is not known. */
  private wantsList = true

  constructor(private readonly endpoints: Endpoints) {
    this.urls = new Set(endpoints.given.map(({ url }) => url))
    const questions = endpoints.given.map((server) => [server.url, this.question(server)] as const)
    this.nodes = new Nodes((answers) => {
      const { leaderUrl } = findLeader(answers, this.findCluster(answers))
      return [leaderUrl]
    }, questions)
  }

  async read(signal: AbortSignal, timeoutMillis?: number): Promise<View> {
    const startedAt = performance.now()
    let view = await this.ask(signal, timeoutMillis)
    // Members that were just found are asked immediately. A load balancer is recognized at its second answer.
    for (let round = 1; view.hasNew && round <= 2; round++) {
      const { routes } = view
      const left = timeoutMillis && Math.max(1, startedAt + timeoutMillis - performance.now())
      view = { ...(await this.ask(signal, left)), routes }
    }
    return view
  }

  private question(server: HttpServer) {
    return (signal: AbortSignal) => askMember(server, signal, () => this.wantsList)
  }

  private async ask(signal: AbortSignal, timeoutMillis: number | undefined) {
    const { endpoints } = this
    const survey = await this.nodes.read(signal, timeoutMillis)
    const clusterId = this.findCluster(survey.newest)
    const leadership = findLeader(survey.newest, clusterId)
    const { leaderUrl } = leadership
    if (clusterId !== this.clusterId) this.known = []
    this.clusterId = clusterId
    const answers = new Map([...survey.newest].filter(([, each]) => each.clusterId === clusterId))
    for (const [url, { memberId }] of answers) endpoints.answered(url, memberId)
    const { list } = answers.get(leaderUrl) ?? {}
    const lists = [list, ...[...answers.values()].map((each) => each.list)]
    this.known = lists.find((each) => each && each.members.length > 0)?.members ?? this.known
    const isAnswered = (url: string) => survey.answers.get(url)?.answer !== undefined
    const routes = endpoints.routes(this.known, isAnswered)
    const hasNew = this.follow(routes)
    this.wantsList = !hasNew && (leaderUrl === '' || this.known.length === 0)
    const listErrors = new Map<string, unknown>()
    for (const [url, each] of answers) {
      if (each.list?.error !== undefined) listErrors.set(url, each.list.error)
    }
    return {
      ...leadership,
      endpoints,
      survey,
      members: this.known,
      routes,
      list,
      listErrors,
      hasNew,
    }
  }

  /**
   * Finds the cluster that most answers are of. Once it is known, only URLs of its members count: it can be rebuilt with
   * another id, but another cluster at a wrong URL must not take its place when no member answers.
   */
  private findCluster(answers: ReadonlyMap<string, Answer>): bigint | undefined {
    const { clusterId: last } = this
    const counts = new Map<bigint, number>(last === undefined ? [] : [[last, 0.5]])
    for (const [url, { clusterId }] of answers) {
      const isCounted = last === undefined || this.endpoints.hasAnswered(url)
      if (isCounted) counts.set(clusterId, (counts.get(clusterId) ?? 0) + 1)
    }
    return [...counts].sort(([, a], [, b]) => b - a)[0]?.[0]
  }

  /** Asks where the routes lead, and at the endpoints, from now on. Returns whether there is a new URL. */
  private follow(routes: ReadonlyMap<bigint, Route>): boolean {
    const { given } = this.endpoints
    const urls = new Set(
      [...given, ...routes.values()].flatMap((each) => ('url' in each ? [each.url] : each.urls)),
    )
    for (const url of this.urls) if (!urls.has(url)) this.nodes.delete(url)
    const added = [...urls].filter((url) => !this.nodes.has(url))
    for (const url of added) this.nodes.set(url, this.question(this.endpoints.serverAt(url)))
    this.urls = urls
    return added.length > 0
  }
}

/** Finds the leader of a cluster that its members follow. One of an older term may not know that it was replaced. */
function findLeader(
  answers: ReadonlyMap<string, Answer>,
  clusterId: bigint | undefined,
): Leadership {
  const members = [...answers].filter(([, answer]) => answer.clusterId === clusterId)
  const [newest] = members
    .map(([, answer]) => answer)
    .filter(({ leader }) => leader !== 0n)
    .sort((a, b) => Number(b.raftTerm - a.raftTerm))
  const leaderId = newest?.leader
  // The first one can be the URL of a load balancer.
  const leader = members.findLast(([, { memberId }]) => memberId === leaderId)
  return { clusterId, leaderId, leaderUrl: leader?.[0] ?? '' }
}

/** Where a member was asked, and what came of it. */
export function outcomesOf(
  { routes, survey }: View,
  memberId: bigint,
): [string, Outcome<Answer>][] {
  const { urls = [] } = routes.get(memberId) ?? {}
  return [...survey.answers].filter(([url]) => urls.includes(url))
}
