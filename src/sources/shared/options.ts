import { EXPECTED_NAME, parseName } from '../../support/names.js'
import { checkObject, hasMethods, optionError } from '../../support/option-errors.js'

/** @throws TypeError if it is not the name of a shard. */
export function parseShard(shard: unknown): string {
  const id = parseName(shard)
  if (id === undefined) throw optionError('shard', EXPECTED_NAME, shard)
  return id
}

/** Checks the options that every source has. @throws TypeError that names the invalid option. */
export function checkNameAndFilter({ name, filter }: { name?: unknown; filter?: unknown }): void {
  if (name !== undefined && parseName(name) !== name) throw optionError('name', EXPECTED_NAME, name)
  const isValid = filter === undefined || hasMethods(filter, 'call')
  if (!isValid) throw optionError('filter', 'a function', filter)
}

/**
 * Calls the `filter` option for a follower. Without one, all pass.
 *
 * @throws TypeError if it does not return a boolean.
 */
export function passesFilter<Follower>(
  filter: ((follower: Follower) => boolean) | undefined,
  follower: Follower,
): boolean {
  const passes: unknown = filter ? filter(follower) : true
  if (typeof passes === 'boolean') return passes
  throw optionError('filter', 'a function that returns a boolean', passes)
}

/**
 * Checks clients of followers by their names.
 *
 * @throws TypeError that names the invalid one.
 */
export function parseClients<Client>(
  option: string,
  clients: Readonly<Record<string, Client>>,
  checkClient: (option: string, client: unknown) => void,
): Map<string, Client> {
  checkObject(option, clients)
  const entries = Object.entries(clients)
  for (const [replica, client] of entries) {
    if (parseName(replica) === undefined) throw optionError(option, EXPECTED_NAME, replica)
    checkClient(`${option}["${replica}"]`, client)
  }
  return new Map(entries)
}
