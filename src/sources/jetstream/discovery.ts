import { startTimeout } from '../../support/timers.js'
import { optional, parseFields, text } from '../shared/fields.js'
import { array, object, type HttpServer } from '../shared/http.js'
import type { Nodes } from '../shared/nodes.js'
import type { Cluster } from './cluster.js'
import { Server } from './server.js'
import type { ServerView } from './view.js'

/** How long a server that was not found is not looked for again: at first, and at most. It doubles each time. */
const [FIRST_PAUSE_MILLIS, MAX_PAUSE_MILLIS] = [1000, 60_000]

const ROUTEZ = { routes: array }
const ROUTE = { ip: optional(text) }
const VARZ = { server_name: optional(text), cluster: optional(object), connect_urls: array }
const CLUSTER = { name: optional(text), urls: array }

/**
 * Finds servers of a cluster whose URLs were not given. Their monitoring must have the protocol, port and path of a server
 * that answers, on a host that this one knows from its routes or advertises to clients.
 */
export class Discovery {
  private readonly servers: Map<string, Server>
  /** The names of the servers that were found, by their URLs. */
  private readonly found = new Map<string, string>()
  /** When a URL is tried again, and when servers are looked for again, by their names. In milliseconds as `performance.now()`. */
  private readonly pauses = new Map<string, { readonly until: number; readonly millis: number }>()

  /**
   * @param given the servers whose URLs were given
   * @param open returns a server with a URL
   */
  constructor(
    given: readonly HttpServer[],
    private readonly nodes: Nodes<ServerView>,
    private readonly open: (url: string) => HttpServer,
    private readonly parameters: string,
  ) {
    this.servers = new Map()
    for (const http of given) this.add(http)
  }

  nameOf(url: string): string | undefined {
    return this.servers.get(url)?.name
  }

  /** Looks for servers that others know, and that have no URL. It never rejects. */
  async update(cluster: Cluster, timeoutMillis: number): Promise<void> {
    this.forget(cluster)
    const missing = cluster.memberNames.filter((name) => this.isMissing(name, cluster))
    const [url] = cluster.urls.values()
    if (missing.length === 0 || url === undefined || timeoutMillis <= 0) return
    if (!this.isDue(`servers ${missing.join(' ')}`)) return
    const controller = new AbortController()
    const stopTimeout = startTimeout(() => controller.abort(), timeoutMillis)
    await this.find(url, cluster, controller.signal).catch(() => undefined)
    stopTimeout()
  }

  /** Whether no URL of a server is known. One that was given may be down, but one that was found may have moved. */
  private isMissing(name: string, { views }: Cluster): boolean {
    const isGiven = [...this.servers].some(
      ([url, each]) => each.name === name && !this.found.has(url),
    )
    return !isGiven && !views.has(name)
  }

  /** Forgets servers that were found, and answer at another URL now or were removed from the cluster. */
  private forget(cluster: Cluster): void {
    for (const [url, name] of this.found) {
      const other = cluster.urls.get(name)
      const isRemoved =
        other === undefined && cluster.hasAllMembers && !cluster.memberNames.includes(name)
      if (!isRemoved && (other === undefined || other === url)) continue
      for (const each of [this.found, this.servers, this.nodes, this.pauses]) each.delete(url)
    }
  }

  private async find(url: string, cluster: Cluster, signal: AbortSignal): Promise<void> {
    const base = this.open(url)
    const [{ clusterName, hosts }, routes] = await Promise.all([
      describe(base, signal),
      base.ask('/routez', parseRoutes, signal).catch(() => []),
    ])
    const urls = new Set([...routes, ...hosts].map((host) => withHost(url, host)))
    const candidates = [...urls].filter((each) => !this.servers.has(each) && this.isDue(each))
    const asking = candidates.map(async (candidate) => {
      const http = this.open(candidate)
      const { name, ...other } = await describe(http, signal)
      const isMember = clusterName !== undefined && other.clusterName === clusterName
      if (name === undefined || !isMember || !this.isMissing(name, cluster)) return
      this.add(http, name)
      this.found.set(http.url, name)
    })
    await Promise.allSettled(asking)
  }

  private add(http: HttpServer, name?: string): void {
    const server = new Server(http, this.parameters, name)
    this.servers.set(http.url, server)
    this.nodes.set(http.url, server.ask)
  }

  /** Whether something was not tried for a while. It is tried now. */
  private isDue(what: string): boolean {
    const now = performance.now()
    const { until, millis } = this.pauses.get(what) ?? { until: now, millis: FIRST_PAUSE_MILLIS }
    if (now < until) return false
    this.pauses.set(what, { until: now + millis, millis: Math.min(millis * 2, MAX_PAUSE_MILLIS) })
    return true
  }
}

async function describe(server: HttpServer, signal: AbortSignal) {
  return server.ask('/varz', parseVarz, signal)
}

function parseVarz(answer: unknown) {
  const { server_name, cluster, connect_urls } = parseFields(VARZ, answer)
  const { name, urls } = parseFields(CLUSTER, cluster)
  const hosts = [...connect_urls, ...urls].map((each) => String(each).replace(/:\d+$/, ''))
  return { name: server_name, clusterName: name, hosts }
}

function parseRoutes(answer: unknown): string[] {
  const { routes } = parseFields(ROUTEZ, answer)
  return routes.flatMap((each) => parseFields(ROUTE, each).ip ?? [])
}

/** Returns a URL with another host, an IPv6 address with or without brackets. It stays as it is if there is no such host. */
function withHost(url: string, host: string): string {
  const changed = new URL(url)
  changed.hostname = host.includes(':') && !host.startsWith('[') ? `[${host}]` : host
  return `${changed.origin}${changed.pathname.replace(/\/+$/, '')}`
}
