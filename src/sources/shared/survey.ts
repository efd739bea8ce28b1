import type { Moment } from './node.js'

/** The answer of a node, or why there is none. */
export type Outcome<Answer> =
  Moment<Answer> | { readonly answer?: undefined; readonly error: unknown }

/** What the nodes answered in one read. */
export class Survey<Answer> {
  /** The first answer of each node, for its position as a follower, or why there is none. In the order of the nodes. */
  readonly answers = new Map<string, Outcome<Answer>>()
  /** The newest answer of each node that has answered, to find out which nodes lead. */
  readonly newest = new Map<string, Answer>()
  /** Why nodes did not answer their last question, by their names. */
  readonly failures = new Map<string, unknown>()
  /** The answers to questions of this read, the oldest first. */
  private readonly moments = new Map<string, (Moment<Answer> & { readonly askedAt: number })[]>()
  readonly startedAt = performance.now()
  private readonly renewed = new Set<string>()

  /** Lets the next answer of a node replace its first one. */
  renew(name: string): void {
    this.renewed.add(name)
  }

  /** Returns the newest answer of a node to a question of this read. Otherwise its position is out of date. */
  last(node: string): Moment<Answer> | undefined {
    return this.moments.get(node)?.at(-1)
  }

  /**
   * Returns where a leader was when another node answered: its first answer to a question that was asked after that.
   * `undefined` if it has not answered since. The position of the node then cannot be compared.
   */
  leaderWhen(leader: string, node: string): Moment<Answer> | undefined {
    const outcome = this.answers.get(node)
    if (!outcome || 'error' in outcome) return undefined
    return this.moments.get(leader)?.find((each) => each.askedAt >= outcome.at)
  }

  /** Adds an answer. One to a question of an earlier read can hold an old position: it is not that of a leader. */
  add(name: string, moment: Moment<Answer>, askedAt: number): void {
    this.failures.delete(name)
    this.newest.set(name, moment.answer)
    const moments = this.moments.get(name) ?? []
    const isFirst = moments.length === 0 || this.renewed.delete(name)
    if (isFirst) this.answers.set(name, moment)
    if (askedAt >= this.startedAt) this.moments.set(name, [...moments, { ...moment, askedAt }])
  }

  fail(name: string, error: unknown): void {
    this.failures.set(name, error)
    if (!this.newest.has(name)) this.answers.set(name, { error })
  }

  /** Whether another node has answered since a leader was asked. */
  isBehind(leader: string, askedAt: number): boolean {
    return [...this.answers].some(
      ([name, each]) => name !== leader && !('error' in each) && each.at > askedAt,
    )
  }
}
