import { parseServers, type Fetch, type HttpServer } from '../shared/http.js'
import type { Member } from './answer.js'
import { ADVICE } from './errors.js'

/** Where a member is asked. */
export interface Route {
  readonly urls: readonly string[]
  /** Why there is no URL. */
  readonly problem?: string | undefined
}

/** Hosts that lead every machine to itself. */
const OWN_HOST = /^(localhost|127\.[\d.]+|\[::1\])$/
/** Hosts to listen on. A client cannot use them. */
const ANY_HOST = /^(0\.0\.0\.0|\[::\])$/

/** Decides where to ask each member. The URLs that the user gave come before those that the members advertise. */
export class Endpoints {
  readonly given: readonly HttpServer[]
  /** The ids of the members that have answered at a URL, the last one last. */
  private readonly memberIds = new Map<string, readonly bigint[]>()
  private readonly isOwnHost: boolean
  private readonly isPlain: boolean
  private readonly first: URL

  /** @throws TypeError that names the option if these are not URLs. */
  constructor(
    endpoints: readonly string[],
    private readonly fetch: Fetch | undefined,
  ) {
    this.given = parseServers('endpoints', endpoints, fetch, ADVICE)
    const urls = endpoints.map((url) => new URL(url))
    this.first = urls[0] as URL
    this.isOwnHost = urls.some(({ hostname }) => OWN_HOST.test(hostname))
    this.isPlain = urls.every(({ protocol }) => protocol === 'http:')
  }

  /** Creates the client of a URL that a member advertises. It sends the user and password of the first endpoint. */
  serverAt(url: string): HttpServer {
    const { username, password } = this.first
    const { href } = Object.assign(new URL(url), { username, password })
    return parseServers('endpoints', [href], this.fetch, ADVICE)[0]
  }

  /** Remembers which member answered. */
  answered(url: string, memberId: bigint): void {
    const others = (this.memberIds.get(url) ?? []).filter((id) => id !== memberId)
    this.memberIds.set(url, [...others, memberId])
  }

  /** Whether a member of the cluster has ever answered at a URL. */
  hasAnswered(url: string): boolean {
    return this.memberIds.has(url)
  }

  isGiven(url: string): boolean {
    return this.given.some((each) => each.url === url)
  }

  /** Whether a URL is that of one of the members, as far as is known. */
  isOfMember(url: string, routes: ReadonlyMap<bigint, Route>): boolean {
    const id = this.memberIds.get(url)?.at(-1)
    if (id !== undefined && routes.has(id)) return true
    return [...routes.values()].some(({ urls }) => urls.includes(url))
  }

  /**
   * Returns where to ask each member: where it answered the last time, or otherwise at each of its URLs.
   *
   * @param isAnswered whether a URL answered the last time
   */
  routes(
    members: readonly Member[],
    isAnswered: (url: string) => boolean,
  ): ReadonlyMap<bigint, Route> {
    const all = members.flatMap(({ clientURLs }) => clientURLs.flatMap(normalize))
    const isUnique = (url: string) => all.indexOf(url) === all.lastIndexOf(url)
    const ids = new Set(members.map(({ ID }) => ID))
    const routes = members.map((member): [bigint, Route] => {
      const { ID, clientURLs } = member
      const own = clientURLs.flatMap(normalize).filter(isUnique)
      const given = this.given.filter(({ url }) => {
        const [id, ...others] = (this.memberIds.get(url) ?? []).filter((each) => ids.has(each))
        // A load balancer answers for several. One that was removed does not count: another can have its URL.
        if (others.length > 0) return false
        return id === undefined ? own.includes(url) : id === ID
      })
      const reachable = own.filter((url) => this.canReach(url))
      const urls = [...new Set([...given.map(({ url }) => url), ...reachable])]
      const good = urls.find((url) => this.memberIds.get(url)?.at(-1) === ID && isAnswered(url))
      if (good !== undefined) return [ID, { urls: [good] }]
      return [ID, { urls, problem: urls.length === 0 ? describeUrls(member) : undefined }]
    })
    return new Map(routes)
  }

  /** A password must not be sent without TLS. */
  private canReach(url: string): boolean {
    const { protocol, hostname } = new URL(url)
    const isSafe = protocol === 'https:' || this.isPlain
    return isSafe && !ANY_HOST.test(hostname) && (this.isOwnHost || !OWN_HOST.test(hostname))
  }
}

/** Returns a URL in the form of `HttpServer.url`, or nothing if it is not one of HTTP. */
function normalize(text: string): string[] {
  try {
    const { protocol, host, pathname } = new URL(text)
    return /^https?:$/.test(protocol) ? [`${protocol}//${host}${pathname.replace(/\/+$/, '')}`] : []
  } catch {
    return []
  }
}

function describeUrls({ name, clientURLs }: Member): string {
  if (clientURLs.length > 0) {
    const urls = clientURLs.slice(0, 3).join(', ')
    return `it advertises ${urls}, which cannot be used from here: add its URL to endpoints`
  }
  const state = name === undefined ? 'was never started' : 'advertises no URL to clients'
  return `it ${state}`
}
