import { describeError } from '../../support/log.js'
import { explain, withAdvice, type Advice } from '../shared/errors.js'
import { fieldsOf, list } from './answer.js'

/** What to do about an error. The first that matches. */
const ADVICE: Advice = [
  [/group authorization failed/i, 'grant the user Describe on the groups'],
  [/topic authorization failed/i, 'grant the user Describe on the topics'],
  [/cluster authorization failed/i, 'grant the user Describe on the cluster, or name the groups'],
  // A login that a broker does not answer says nothing about the user.
  [
    /(authentication|sasl).*timed? ?out|timed? ?out.*(authentication|sasl)/i,
    'check whether the brokers run and can be reached',
  ],
  [/authentication/i, 'check the user and its password'],
  [
    /find group coordinator/i,
    'grant the user Describe on the groups, and check whether the brokers run',
  ],
  [
    /does not host this topic-partition|unknown topic/i,
    'check whether it exists. After a topic was deleted, kafkajs needs a new admin client: pass a function that creates one',
  ],
  [
    /no leader/i,
    'check whether the brokers that have a copy of it run. With kafkajs, pass a function that creates an admin client: one that has read such a topic reads no others',
  ],
  [/closed|no answer/i, 'check whether the brokers run and can be reached'],
]

export const NO_LEADER = new Error('it has no leader')

/** Describes why a part cannot be read, and says what to do. */
export function describeFailure(error: unknown): string {
  return withAdvice(describeError(error), ADVICE)
}

/** Returns an error that says why nothing can be read, and what to do. */
export function explainFailure(error: unknown): Error {
  return explain('Kafka', error, ADVICE)
}

/** Whether the user may not describe a topic. */
export function isDenied(error: unknown): boolean {
  return /topic authorization|not authorized to access topic/i.test(describeError(error))
}

/** Whether a broker could not be reached, so that asking again about a smaller part would be of no use. */
export function isUnreachable(error: unknown): boolean {
  const description = describeError(error)
  // A broker closes the connection of a user that it does not know.
  if (/authentication/i.test(description)) return false
  return /connect|ECONN|timed? ?out|no answer|closed/i.test(description)
}

/** The answer of a broker although a part of it failed, and the errors, by their places in it: `/topics/0/partitions/2`. */
interface PartialAnswer {
  readonly response: Partial<Record<string, unknown>>
  readonly errorAt: (place: string) => unknown
}

/** Returns what `@platformatic/kafka` has attached to an error: all that the broker has answered. */
export function partialAnswer(error: unknown): PartialAnswer | undefined {
  const { response, errors, cause } = fieldsOf(error)
  const inner = Array.isArray(errors) ? (errors as unknown[]) : []
  if (typeof response === 'object' && response !== null) {
    const byPlace = new Map(inner.map((each) => [fieldsOf(each)['path'], each]))
    return { response, errorAt: (place) => byPlace.get(place) }
  }
  if (cause !== undefined) return partialAnswer(cause)
  // Of several attempts, the last.
  return inner.length > 0 ? partialAnswer(inner.at(-1)) : undefined
}

/** Returns an answer, or a field of it, that is a list, even if the client has rejected it because of some of them. */
export async function rowsOf(
  asking: Promise<unknown> | undefined,
  field: string,
): Promise<{ rows: readonly unknown[]; errorAt: PartialAnswer['errorAt'] }> {
  try {
    const answer = await asking
    const rows = Array.isArray(answer) ? answer : fieldsOf(answer)[field]
    return { rows: list(rows, field), errorAt: () => undefined }
  } catch (error) {
    const { response, errorAt } = partialAnswer(error) ?? {}
    const rows = response?.[field]
    // It can be the answer to another question, which the client has asked before.
    if (!errorAt || !Array.isArray(rows) || 'brokers' in (response ?? {})) throw error
    return { rows: rows as readonly unknown[], errorAt }
  }
}
