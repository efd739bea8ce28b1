import { optional, parseFields, required, text } from '../shared/fields.js'
import type { HttpServer } from '../shared/http.js'
import { parseAnswer, parseView, type Answer } from './answer.js'
import { Configs } from './configs.js'
import { BALANCED, NOT_RUNNING } from './errors.js'
import type { ServerView } from './view.js'

/** A server answers before it lists its streams, for as long as it starts. One that is older than this has started. */
const STARTING_MILLIS = 60_000

/** Without a limit, a server lists only 1,024 accounts, and other ones in each answer. */
const MAX_ACCOUNTS = 1_000_000

const VARZ = {
  server_id: required(text),
  server_name: required(text),
  start: optional(text),
  now: optional(text),
}

interface Identity {
  readonly id: string
  readonly name: string
  /** From when on it lists everything that it holds, in milliseconds as `performance.now()`. */
  settledAt: number
}

/** One server of NATS, by its monitoring URL. */
export class Server {
  private identity: Identity | undefined
  private configs = new Configs()
  private asksConfig = true

  /**
   * @param parameters of its requests
   * @param expectedName the name of a server that was found. Another server can get its address.
   */
  constructor(
    private readonly http: HttpServer,
    private readonly parameters: string,
    private readonly expectedName?: string,
  ) {}

  /** The name of the server, if it is known. */
  get name(): string | undefined {
    return this.expectedName ?? this.identity?.name
  }

  readonly ask = async (signal: AbortSignal): Promise<ServerView> => {
    const { identity } = this
    const isStarting = identity !== undefined && identity.settledAt > performance.now()
    // Before the streams: what it lists after this is everything.
    if (isStarting && (await this.isHealthy(signal))) identity.settledAt = -Infinity
    const answer = await this.askStreams(signal, this.asksConfig)
    const { name, settledAt } = await this.identify(answer.id, signal)
    if (answer.isDisabled && !(await this.isHealthy(signal))) throw this.error(NOT_RUNNING)
    let configs = new Configs(this.configs)
    let view = parseView(answer, name, configs)
    if (configs.isMissing && !this.asksConfig) {
      const whole = await this.askStreams(signal, true)
      if (whole.id !== answer.id) throw this.error(BALANCED)
      configs = new Configs(this.configs)
      view = parseView(whole, name, configs)
    }
    this.configs = configs
    // Where clients create and remove consumers all the time, one request is cheaper than two.
    this.asksConfig = configs.hasNew
    return { ...view, isSettled: settledAt <= performance.now() }
  }

  private askStreams(signal: AbortSignal, config: boolean): Promise<Answer> {
    const parameters = `${this.parameters}${config ? '&config=true' : ''}`
    const path = `/jsz?streams=true&limit=${MAX_ACCOUNTS}${parameters}`
    return this.http.ask(path, parseAnswer, signal)
  }

  /** The answer to `/jsz` has no name. The id changes at each start. */
  private async identify(id: string, signal: AbortSignal): Promise<Identity> {
    if (this.identity?.id === id) return this.identity
    const varz = await this.http.ask('/varz', (answer) => parseFields(VARZ, answer), signal)
    const { server_name: name } = varz
    if (varz.server_id !== id) throw this.error(BALANCED)
    const isOther = this.expectedName !== undefined && name !== this.expectedName
    if (isOther) throw this.error(`this is server ${name}, no longer ${this.expectedName}`)
    const age = Date.parse(varz.now ?? '') - Date.parse(varz.start ?? '')
    const unknown = this.identity === undefined ? STARTING_MILLIS : 0
    const left = STARTING_MILLIS - (Number.isNaN(age) ? unknown : age)
    this.identity = { id, name, settledAt: performance.now() + left }
    return this.identity
  }

  private async isHealthy(signal: AbortSignal): Promise<boolean> {
    const isOk = (answer: unknown) => (answer as { status?: unknown } | null)?.status === 'ok'
    return this.http.ask('/healthz', isOk, signal).catch(() => false)
  }

  private error(message: string): Error {
    return new Error(`${this.http.url}: ${message}`)
  }
}
