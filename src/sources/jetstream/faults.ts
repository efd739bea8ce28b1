import { describeError } from '../../support/log.js'
import { text } from '../shared/fields.js'
import { object } from '../shared/http.js'

/** Returns `undefined` and notes why if a part is invalid. */
export function attempt<T>(faults: string[], part: string, parse: () => T): T | undefined {
  try {
    return parse()
  } catch (error) {
    faults.push(`${part}${describeError(error)}`)
    return undefined
  }
}

/** Returns the name of a part that may be invalid. */
export function nameOf(part: unknown): string {
  return text((object(part) as { name?: unknown } | undefined)?.name) ?? 'without a name'
}
