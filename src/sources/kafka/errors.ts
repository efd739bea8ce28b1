import { describeError } from '../../support/log.js'
import { explain, withAdvice, type Advice } from '../shared/errors.js'
import { fieldsOf, list } from './answer.js'

/** What to do about an error. The first that matches. */
const ADVICE: Advice = [
  [/group authorization failed/i, 'grant the user Describe on the groups'],
  [/topic authorization failed/i, 'grant the user Describe on the topics'],
  [/cluster authorization failed/i, 'grant the user Describe on the cluster, or name the groups'],
  [/authentication/i, 'check the user and its password'],
  [
    /find group coordinator/i,
    'grant the user Describe on the groups, and check whether the brokers run',
  ],
  [
    /does not host this topic-partition|unknown topic/i,
    'check whether it exists. After a topic was deleted, kafkajs needs a new admin client: pass a function that creates one',
  ],
  [/no leader/i, 'check whether the brokers that have a copy of it run'],
  [/closed|no answer/i, 'check whether the brokers run and can be reached'],
]

/** Describes why a part cannot be read, and says what to do. */
export function describeFailure(error: unknown): string {
  return withAdvice(describeError(error), ADVICE)
}

/** Returns an error that says why nothing can be read, and what to do. */
export function explainFailure(error: unknown): Error {
  return explain('Kafka', error, ADVICE)
}

/** The answer of a broker although a part of it failed, and the errors, by their places in it: `/topics/0/partitions/2`. */
export interface PartialAnswer {
  readonly response: Partial<Record<string, unknown>>
  readonly errorAt: (place: string) => unknown
}

/** Returns what `@platformatic/kafka` has attached to an error: all that the broker has answered. */
export function partialAnswer(error: unknown): PartialAnswer | undefined {
  const { response, errors, cause } = fieldsOf(error)
  const inner = Array.isArray(errors) ? (errors as unknown[]) : []
  if (typeof response === 'object' && response !== null) {
    const errorsByPlace = new Map(inner.map((each) => [fieldsOf(each)['path'], each]))
    return {
      response,
      errorAt: (place) => errorsByPlace.get(place),
    }
  }
  if (cause !== undefined) return partialAnswer(cause)
  // Of several attempts, the last.
  return inner.length > 0 ? partialAnswer(inner.at(-1)) : undefined
}

/** Returns the rows of an answer, even if the client has rejected it because of some of them. */
export async function answerOf(
  asking: Promise<unknown> | undefined,
  field: string,
): Promise<{ rows: readonly unknown[]; errorAt?: PartialAnswer['errorAt'] }> {
  try {
    return { rows: list(await asking, field) }
  } catch (error) {
    const partial = partialAnswer(error)
    const rows = partial?.response[field]
    // It can be the answer to another question, which the client has asked before.
    if (!partial || !Array.isArray(rows) || 'brokers' in partial.response) throw error
    return { rows: rows as readonly unknown[], errorAt: partial.errorAt }
  }
}

/** Whether a broker could not be reached, so that asking again about a smaller part would be of no use. */
export function isUnreachable(error: unknown): boolean {
  return /connect|ECONN|timed? ?out|no answer|closed/i.test(describeError(error))
}

/** Whether `kafkajs` has refused the metadata of all topics because of one of them. */
export function isAboutMetadata(error: unknown): boolean {
  const { type, cause } = fieldsOf(error)
  if (type === 'LEADER_NOT_AVAILABLE' || type === 'UNKNOWN_TOPIC_OR_PARTITION') return true
  return cause !== undefined && isAboutMetadata(cause)
}
