import { list, map, name, parseSubscription } from './answer.js'
import type { PlatformaticAdmin } from './platformatic-admin.js'

type Callback<T> = (error: Error | null, result: T) => void
type DescribeGroups = (
  connection: unknown,
  groups: readonly string[],
  includeAuthorizedOperations: boolean,
  callback: Callback<unknown>,
) => void

/**
 * Reads what the members of groups have subscribed to, at their coordinator. It returns less if that is not possible.
 *
 * `describeGroups` of the client is not used: it ends the process for a group that has a member without partitions (seen with
 * 1.35.0). The request itself works. The client exports the key of its method for it as `kGetApi`.
 */
export async function readSubscriptions(
  admin: PlatformaticAdmin,
  broker: number,
  groups: readonly string[],
): Promise<ReadonlyMap<string, string[]>> {
  const subscriptions = new Map<string, string[]>()
  const describe = groups.length > 0 ? await findRequest(admin) : undefined
  if (!describe) return subscriptions
  try {
    const connection = map(await admin.connectToBrokers([broker]), 'connections').get(broker)
    const answer = await new Promise((resolve, reject) =>
      describe(connection, groups, false, (error, result) =>
        error ? reject(error) : resolve(result),
      ),
    )
    for (const row of list((answer as { groups: unknown }).groups, 'groups')) {
      const { groupId, members } = row as Record<string, unknown>
      const topics = list(members, 'members').flatMap((member) =>
        parseSubscription((member as { memberMetadata?: unknown }).memberMetadata),
      )
      subscriptions.set(name(groupId, 'groupId'), [...new Set(topics)])
    }
  } catch {
    // The commits of these groups are read in any case.
  }
  return subscriptions
}

/** Finds the request in the version that the brokers support. */
function findRequest(admin: PlatformaticAdmin): Promise<DescribeGroups | undefined> {
  const getApi = methodOf(admin, 'plt.kafka.base.getApi')
  return new Promise((resolve) => {
    if (!getApi) resolve(undefined)
    else getApi.call(admin, 'DescribeGroups', (_, request) => resolve(request))
  })
}

type GetApi = (name: string, callback: Callback<DescribeGroups | undefined>) => void

function methodOf(admin: object, description: string): GetApi | undefined {
  for (let each: object | null = admin; each; each = Object.getPrototypeOf(each) as object | null) {
    const key = Object.getOwnPropertySymbols(each).find(
      (symbol) => symbol.description === description,
    )
    if (key) return Reflect.get(admin, key) as GetApi
  }
  return undefined
}
