import { object } from '../shared/http.js'

/**
 * The parts of the configuration that matter. They never change, so a server is asked for its configuration only when it
 * has something new.
 */
export class Configs {
  /** Whether the configuration of something is not known. */
  isMissing = false
  /** Whether the last answer did not have something. */
  hasNew = false
  private readonly found = new Map<string, unknown>()

  private readonly known: ReadonlyMap<string, unknown>

  /** @param last those of the last answer of the server */
  constructor(last?: Configs) {
    this.known = last?.found ?? new Map()
  }

  /**
   * Returns a part of a configuration.
   *
   * @param key names what is configured.
   * @param config the configuration, if the answer has it.
   */
  get<T>(key: string, config: unknown, parse: (config: object) => T): T | undefined {
    const isKnown = this.known.has(key)
    const given = object(config)
    if (!given && !isKnown) {
      this.isMissing = true
      return undefined
    }
    const value = given ? parse(given) : (this.known.get(key) as T)
    this.found.set(key, value)
    this.hasNew ||= !isKnown
    return value
  }
}
