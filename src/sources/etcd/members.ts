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
      const { leaderUrl } = findLeader(answers, this.clusterId)
      return [leaderUrl]
    }, questions)
  }

  async read(signal: AbortSignal, timeoutMillis?: number): Promise<View> {
    const startedAt = performance.now()
    let view = await this.ask(signal, timeoutMillis)
    // Members that were just found are asked at once. A load balancer is recognized at its second answer.
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
    const leadership = findLeader(survey.newest, this.clusterId)
    const { leaderUrl, clusterId } = leadership
    if (clusterId !== undefined && clusterId !== this.clusterId) this.known = []
    this.clusterId = clusterId ?? this.clusterId
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

/**
 * Finds the leader that the members follow: that of the newest term, because one that is cut off may not know that it was
 * replaced. Where members of several clusters answer, it is that of the cluster with the most of them.
 */
function findLeader(
  answers: ReadonlyMap<string, Answer>,
  lastCluster: bigint | undefined,
): Leadership {
  const ids = [...answers.values()].map((each) => each.clusterId)
  const weigh = (id: bigint) =>
    ids.filter((each) => each === id).length + (id === lastCluster ? 0.5 : 0)
  const [clusterId] = [...new Set(ids)].sort((a, b) => weigh(b) - weigh(a))
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
  return (routes.get(memberId)?.urls ?? []).flatMap((url) => {
    const outcome = survey.answers.get(url)
    return outcome ? [[url, outcome]] : []
  })
}
