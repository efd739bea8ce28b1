import { unref } from '../../support/timers.js'
import { orAborted } from './abort.js'

/** How long a read waits for a follower, so that one that hangs does not hide the others. */
const PATIENCE_MILLIS = 2000

/** One node of a system, which is asked one question at a time. */
export class Node<Answer> {
  private isAsking = false

  /** @param question asks the node. Clients need not heed the signal. */
  constructor(private readonly question: (signal: AbortSignal) => Promise<Answer>) {}

  /**
   * Rejects if the node cannot be asked, when the signal is aborted, and while the last question is not answered: a node
   * that hangs must not collect questions, and an answer to an old one would be compared with newer positions.
   */
  async ask(signal: AbortSignal): Promise<Answer> {
    if (this.isAsking) throw new Error('the last question is not answered yet')
    this.isAsking = true
    const asking = async () => this.question(signal)
    const answer = asking().finally(() => (this.isAsking = false))
    return orAborted(answer, signal)
  }
}

/** The answer of a node, or why there is none. */
export type Answered<Answer> =
  { readonly answer: Answer } | { readonly answer?: undefined; readonly error: unknown }

/** Asks all nodes at once, and gives up those that do not answer soon. */
export async function askAll<Answer>(
  nodes: ReadonlyMap<string, Node<Answer>>,
  signal: AbortSignal,
): Promise<Map<string, Answered<Answer>>> {
  // Not AbortSignal.any() with AbortSignal.timeout(): Node 20 can collect such a signal as garbage, and it never fires.
  const patience = new AbortController()
  const abort = () => patience.abort(signal.reason)
  if (signal.aborted) abort()
  signal.addEventListener('abort', abort)
  const late = new Error(`no answer within ${PATIENCE_MILLIS / 1000} seconds`)
  const timer = unref(setTimeout(() => patience.abort(late), PATIENCE_MILLIS))
  const asking = [...nodes].map(async ([name, node]): Promise<[string, Answered<Answer>]> => {
    try {
      return [name, { answer: await node.ask(patience.signal) }]
    } catch (error) {
      return [name, { error }]
    }
  })
  const answers = new Map(await Promise.all(asking))
  signal.removeEventListener('abort', abort)
  clearTimeout(timer)
  return answers
}
