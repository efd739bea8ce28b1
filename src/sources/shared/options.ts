import { EXPECTED_NAME, parseName, type ShardId } from '../../support/names.js'
import {
  checkObject,
  hasMethods,
  optionError,
  warnAboutUnknown,
} from '../../support/option-errors.js'

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
  if (name !== undefined && parseName(name) !== name) throw optionError('name', EXPECTED_NAME, name)
  const isValid = filter === undefined || hasMethods(filter, 'call')
  if (!isValid) throw optionError('filter', 'a function', filter)
  const passes = (follower: Follower): boolean => {
    const result: unknown = filter ? filter(follower) : true
    if (typeof result === 'boolean') return result
    throw optionError('filter', 'a function that returns a boolean', result)
  }
  return { name, passes }
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
  const id = parseName(shard)
  if (id === undefined) throw optionError('shard', EXPECTED_NAME, shard)
  const { name = `${system}:${id}`, passes } = checkCommonOptions(system, common)
  return { shard: id, name, passes }
}

/**
 * Checks clients of nodes by their names.
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
