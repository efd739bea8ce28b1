import { EXPECTED_NAME, parseName, type ShardId } from '../../support/names.js'
import {
  checkObject,
  hasMethods,
  optionError,
  warnAboutUnknown,
} from '../../support/option-errors.js'

/** @throws TypeError if it is not the name of a shard. */
export function parseShard(shard: unknown): string {
  const id = parseName(shard)
  if (id === undefined) throw optionError('shard', EXPECTED_NAME, shard)
  return id
}

/** The options that every source has. */
interface CommonOptions<Follower> {
  readonly name?: string | undefined
  readonly filter?: ((follower: Follower) => boolean) | undefined
}

/**
 * Checks the options that every source has, and logs those that do not exist.
 *
 * @param system the first word of the function that creates the source: `etcd` for `etcdSource`.
 * @param rest what destructuring the options of that function leaves.
 * @returns `passes`, which calls the filter. Without one, all followers pass.
 * @throws TypeError that names the invalid option.
 */
export function checkCommonOptions<Follower>(system: string, rest: CommonOptions<Follower>) {
  const { name, filter, ...unknown } = rest
  warnAboutUnknown(`${system}Source`, unknown)
  checkNameAndFilter({ name, filter })
  return { name, passes: (follower: Follower) => passesFilter(filter, follower) }
}

/**
 * Checks the options of a source that reports one shard, as {@link checkCommonOptions} does.
 *
 * @returns the name of the shard, and that of the source, which by default is the system and the shard.
 */
export function checkShardOptions<Follower>(
  system: string,
  rest: CommonOptions<Follower> & { readonly shard: ShardId },
) {
  const { shard, ...common } = rest
  const id = parseShard(shard)
  const { name = `${system}:${id}`, passes } = checkCommonOptions(system, common)
  return { shard: id, name, passes }
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
