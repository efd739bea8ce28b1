import { describeError } from '../../support/log.js'
import { withAdvice, type Advice } from '../shared/errors.js'
import { parseLines } from './answer.js'

/** Errors of a client that has no connection, or whose connection has ended. */
const UNREACHABLE = /ECONN|ENOTFOUND|EAI_AGAIN|UNREACH|timed? ?out|no answer|connected|closed/i

/** What to do about an error. The first that matches. */
const ADVICE: Advice = [
  [/NOPERM/, 'grant the user the permission: ACL SETUSER name +info'],
  [/NOAUTH|WRONGPASS/, 'check the user and its password'],
  [/LOADING/, 'wait until it has loaded its data'],
  [/field \w+ is missing/, 'Redis before 4.0, and servers that only resemble it, cannot be read'],
  [/not connected|is closed/i, 'check host, port and server, and whether the port expects TLS'],
]

/** Describes an error, and what to do about it. */
export function explain(error: unknown): string {
  return withAdvice(describeError(error), ADVICE)
}

/** Returns the most useful error: one that a server has answered with, if there is one. */
export function mostTelling(errors: readonly unknown[]): unknown {
  return errors.find((error) => !UNREACHABLE.test(describeError(error))) ?? errors[0]
}

/**
 * Describes a server that answers to `INFO replication`, but not as Redis and Valkey do. Returns `undefined` if it is not
 * known.
 *
 * @param server its answer to `INFO server`
 */
export function describeOther(server: unknown, role: string | undefined): string | undefined {
  const fields = parseLines(String(server))
  if ([fields['redis_mode'], fields['server_mode']].includes('sentinel')) {
    return 'this is a Sentinel: give the ports of the servers that it watches'
  }
  if (role === 'active-replica') {
    return 'this is KeyDB with active-replica, where all nodes lead. Use its own metrics: there is no lag behind one leader'
  }
  const name = ['Dragonfly', 'Kvrocks'].find(
    (each) => fields[`${each.toLowerCase()}_version`] !== undefined,
  )
  return name && `this is ${name}. Use its own metrics: it does not report positions as Redis does`
}
