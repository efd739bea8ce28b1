import { groupBy } from '../shared/groups.js'
import type { Moment, Survey } from '../shared/nodes.js'
import { describeFailures } from '../shared/http.js'
import { NAMESAKE, NOT_A_SERVER } from './errors.js'
import {
  findLeaders,
  isMirror,
  type Leadership,
  type LeaderView,
  type LeadingMirror,
} from './leaders.js'
import type { Members, ServerView, StreamView } from './view.js'

/** Where a leader was at one moment, in milliseconds as `performance.now()`. */
export interface LeaderMoment {
  readonly leaderSeqno: bigint
  readonly at: number
}

/** What the servers of a cluster answered in one read. */
export class Cluster {
  /** What each server answered first, by its name. */
  readonly views: ReadonlyMap<string, ServerView>
  /** What the servers answered first about each stream, by its key. */
  readonly copies: ReadonlyMap<string, readonly [StreamView, ...StreamView[]]>
  /** The leaders of the streams, by the newest answers. */
  readonly leaders: ReadonlyMap<string, Leadership>
  /** The leaders of mirrors, by the key of their upstream. */
  readonly mirrors: ReadonlyMap<string, readonly LeadingMirror[]>
  /** The URL of each server that answered, by its name. */
  readonly urls: ReadonlyMap<string, string>
  /** Servers that were left out, because another one has the same name. */
  private readonly namesakes: readonly string[]

  /** @param nameOf returns the name of a server, if it was ever read. */
  constructor(
    private readonly survey: Survey<ServerView>,
    private readonly nameOf: (url: string) => string | undefined,
  ) {
    const views = new Map<string, ServerView>()
    const urls = new Map<string, string>()
    const newest: ServerView[] = []
    const namesakes: string[] = []
    for (const [url, { answer }] of survey.answers) {
      if (!answer) continue
      const known = views.get(answer.server)
      // Two URLs can be of one server.
      if (known && known.id !== answer.id) namesakes.push(`${url}: ${answer.server} ${NAMESAKE}`)
      if (known) continue
      views.set(answer.server, answer)
      urls.set(answer.server, url)
      newest.push(...this.newestOf(url))
    }
    this.views = views
    this.urls = urls
    this.namesakes = namesakes
    this.leaders = findLeaders(newest)
    const streams = [...views.values()].flatMap((each) => [...each.streams.values()])
    this.copies = groupBy(streams, ({ key }) => key)
    const led = [...findLeaders(views.values()).values()].map(({ leader }) => leader)
    this.mirrors = groupBy(led.filter(isMirror), ({ mirror }) => String(mirror.upstream))
  }

  /** Why servers did not answer, and what is invalid in answers and belongs to no stream. It is empty if there is nothing. */
  get failures(): string {
    const faults = [...this.views.values()].flatMap((each) =>
      each.faults.map((fault) => `${each.server}: ${fault}`),
    )
    const failures = describeFailures(this.survey.failures)
    return [failures, ...this.namesakes, ...faults].filter(Boolean).join('; ')
  }

  /** Returns where the leader of a stream was when another server answered, or this server itself. */
  leaderWhen(leader: LeaderView, server: string): LeaderMoment | undefined {
    const [url = '', leaderUrl = ''] = [server, leader.server].map((name) => this.urls.get(name))
    const moment =
      url === leaderUrl ? this.survey.answers.get(url) : this.survey.leaderWhen(leaderUrl, url)
    const { answer, at } = (moment ?? {}) as Partial<Moment<ServerView>>
    const stream = answer?.streams.get(leader.key)
    const isSame =
      stream?.leader === stream?.server && stream?.state?.created === leader.state.created
    return stream?.state && isSame && at !== undefined
      ? { leaderSeqno: stream.state.lastSeq, at }
      : undefined
  }

  /** Returns why a server could not be read. */
  whyNot(server: string): string {
    const { failures } = this.survey
    const own = [...failures].filter(([url]) => this.nameOf(url) === server)
    const unnamed = [...failures].filter(([url]) => this.nameOf(url) === undefined)
    return describeFailures(new Map(own.length > 0 ? own : unnamed)) || NOT_A_SERVER
  }

  /**
   * Whether everything that exists is in the answers. A server that does not answer but was removed from the cluster does
   * not count.
   */
  get isComplete(): boolean {
    const views = [...this.views.values()]
    const isRead = (server: string) => {
      const url = this.urls.get(server)
      return url !== undefined && !this.survey.failures.has(url)
    }
    const isWhole = views.every((each) => each.isSettled && each.faults.length === 0)
    const isLed = [...this.copies].every(([key, copies]) => {
      return (
        this.leaders.get(key)?.leader.hasUnknown === false &&
        copies.every(({ faults }) => faults.length === 0)
      )
    })
    return isWhole && isLed && this.areAllRead(isRead)
  }

  /** Returns what the leader of the group of all servers says about it. For a moment, two can say that they lead. */
  private get groups(): Members[] {
    const views = [...this.views.values()]
    return views.flatMap(({ members, server }) => (members?.leader === server ? members : []))
  }

  /** Whether the names of all servers of the cluster are known. */
  get hasAllMembers(): boolean {
    return this.groups.length > 0 && this.groups.every(({ names, size }) => names.length >= size)
  }

  /** The names of the servers of the cluster that are known. */
  get memberNames(): string[] {
    const names = [...this.views.values()].flatMap(({ members }) => members?.names ?? [])
    return [...new Set(names)].sort()
  }

  private areAllRead(isRead: (server: string) => boolean): boolean {
    const views = [...this.views.values()]
    if (!views.every(({ server }) => isRead(server))) return false
    if (views.every(({ members }) => !members)) return this.survey.failures.size === 0
    return this.hasAllMembers && this.groups.every(({ names }) => names.every(isRead))
  }

  private newestOf(url: string): ServerView[] {
    return [this.survey.last(url)?.answer ?? []].flat()
  }
}
