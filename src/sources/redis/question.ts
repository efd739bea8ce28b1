import type { Question } from '../shared/nodes.js'
import { parseInfo, parseLines, type Info } from './answer.js'
import { describeOther } from './errors.js'

/** What is used of a client of `ioredis` or `redis`: one plain connection to one node. */
export interface RedisClient {
  info(section: string): Promise<unknown>
}

/** Why clients have no connection. A client has one listener, even if many sources use it. */
const failures = new WeakMap<RedisClient, { last: Error | undefined }>()

function failureOf(client: RedisClient): { readonly last: Error | undefined } {
  const known = failures.get(client)
  if (known) return known
  const failure: { last: Error | undefined } = { last: undefined }
  failures.set(client, failure)
  const { on } = client as { on?: (event: string, listener: (error?: Error) => void) => void }
  on?.call(client, 'error', (error) => (failure.last = error))
  on?.call(client, 'ready', () => (failure.last = undefined))
  return failure
}

/** @internal Returns the question that asks a node for its replication. It follows the state of the client's connection. */
export function createQuestion(client: RedisClient): Question<Info> {
  const failure = failureOf(client)
  const ask = async (section: string): Promise<unknown> => {
    const { status, isReady } = client as { status?: unknown; isReady?: unknown }
    // A client without a connection would queue the question.
    const isLost = isReady === false || ['close', 'reconnecting', 'end'].includes(String(status))
    if (isLost) throw failure.last ?? new Error('the client is not connected')
    try {
      const answer = await client.info(section)
      // While it logs in, ioredis sends the question as well. That the login has failed is known a moment later.
      if (status === 'connect') await new Promise((resolve) => setImmediate(resolve))
      if (status === 'connect' && failure.last) throw failure.last
      return answer
    } catch (error) {
      throw failure.last ?? (error as Error)
    }
  }
  return async () => {
    const answer = await ask('replication')
    try {
      return parseInfo(answer)
    } catch (error) {
      const role = parseLines(String(answer))['role']
      const other = describeOther(await ask('server').catch(() => ''), role)
      throw other === undefined ? error : new Error(other)
    }
  }
}
