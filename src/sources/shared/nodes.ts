import { describeError } from '../../support/log.js'
import type { FollowerReading } from '../source.js'
import { Inquiry } from './inquiry.js'
import { Node, type Question } from './node.js'
import type { Survey } from './survey.js'

export type { Moment, Question } from './node.js'
export type { Outcome, Survey } from './survey.js'

/** How long a read may take if its caller does not say so. */
export const DEFAULT_TIMEOUT_MILLIS = 5000

/**
 * The nodes of one system. Each read asks every node, and asks the leaders again after others have answered. So each
 * follower can be compared with where its leader was when the follower answered, regardless of how slow other nodes are.
 *
 * A node that failed the last time is asked, but not waited for. An answer that comes after its read is used by the next.
 */
export class Nodes<Answer> {
  private readonly nodes = new Map<string, Node<Answer>>()
  private leaders: readonly string[] = []

  /** @param findLeaders returns the names of the nodes that lead, according to the newest answers. It must not throw. */
  constructor(
    private readonly findLeaders: (answers: ReadonlyMap<string, Answer>) => Iterable<string>,
    questions: Iterable<readonly [string, Question<Answer>]> = [],
  ) {
    for (const [name, question] of questions) this.set(name, question)
  }

  has(name: string): boolean {
    return this.nodes.has(name)
  }

  /** Adds a node, or replaces the one of this name. */
  set(name: string, question: Question<Answer>): void {
    this.delete(name)
    this.nodes.set(name, new Node(name, question))
  }

  /** Removes a node, and aborts its question. */
  delete(name: string): void {
    this.nodes.get(name)?.abort(new Error('the node was removed'))
    this.nodes.delete(name)
  }

  /**
   * Asks the nodes.
   *
   * @param timeoutMillis how long the read of the source may take. This settles before that.
   * @throws the reason of the signal when that is aborted.
   */
  async read(signal: AbortSignal, timeoutMillis = DEFAULT_TIMEOUT_MILLIS): Promise<Survey<Answer>> {
    signal.throwIfAborted()
    const presumed = this.leaders.filter((name) => this.has(name))
    const inquiry = new Inquiry(new Map(this.nodes), this.findLeaders, presumed, timeoutMillis)
    const abort = () => inquiry.abort(signal.reason)
    signal.addEventListener('abort', abort)
    try {
      await inquiry.run()
      signal.throwIfAborted()
      this.leaders = inquiry.leaders
      return inquiry.survey
    } finally {
      signal.removeEventListener('abort', abort)
      inquiry.end()
    }
  }
}

/** A follower that did not answer: it keeps its last position. */
export function unreachable(replica: string, error: unknown): FollowerReading {
  return { replica, connected: false, problem: `cannot be read: ${describeError(error)}` }
}
