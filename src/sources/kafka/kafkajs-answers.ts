import { fieldError } from '../shared/fields.js'
import {
  addOffsets,
  createPartition,
  fieldsOf,
  index,
  isFailure,
  list,
  name,
  parseOffset,
  parseSubscription,
  topicsIn,
  type Failure,
  type Group,
  type Offsets,
  type Partition,
} from './answer.js'

/** What describing a group has shown. */
export type Members = Pick<Group, 'hasMembers' | 'subscribed'>

/** Parses an answer of `listGroups`. */
export function parseGroups(answer: unknown): string[] {
  return list(fieldsOf(answer)['groups'], 'groups').flatMap((row) => {
    const { groupId, protocolType } = fieldsOf(row)
    // Share groups have no commits.
    return protocolType === 'share' ? [] : [name(groupId, 'groupId')]
  })
}

/** Parses an answer of `describeGroups`. */
export function parseMembers(answer: unknown): Map<string, Members> {
  const members = new Map<string, Members>()
  for (const row of list(fieldsOf(answer)['groups'], 'groups')) {
    const { groupId, state, protocolType, members: all } = fieldsOf(row)
    const rows = list(all, 'members')
    const subscribed = rows.flatMap((each) =>
      protocolType === 'consumer' ? parseSubscription(fieldsOf(each)['memberMetadata']) : [],
    )
    // This is also the answer about a group of the new protocol, which the client cannot describe.
    const hasMembers = state === 'Dead' ? undefined : rows.length > 0
    members.set(name(groupId, 'groupId'), { hasMembers, subscribed: [...new Set(subscribed)] })
  }
  return members
}

/** Parses an answer of `fetchOffsets`. */
export function parseCommits(answer: unknown): Offsets {
  const offsets = new Map<string, (bigint | null | undefined)[]>()
  for (const [, topic, rows] of topicsIn(list(answer, 'topics'), 'topic')) {
    addOffsets(offsets, topic, rows, 'partition', 'offset')
  }
  return offsets
}

/** Returns how many partitions each topic has at least. */
export function countPartitions(groups: ReadonlyMap<string, Group | Failure>): Map<string, number> {
  const counts = new Map<string, number>()
  for (const group of groups.values()) {
    if (isFailure(group)) continue
    for (const [topic, offsets] of group.commits) {
      counts.set(topic, Math.max(counts.get(topic) ?? 0, offsets.length))
    }
  }
  return counts
}

/** Parses an answer of `fetchTopicOffsets`. */
export function parseLogs(rows: unknown): Partition[] {
  const partitions = list(rows, 'offsets').map((row) => {
    const { partition, low, high } = fieldsOf(row)
    const log = createPartition(index(partition, 'partition'))
    log.start = offset(low, 'low')
    log.end = offset(high, 'high')
    return log
  })
  return partitions.sort((a, b) => a.partition - b.partition)
}

function offset(value: unknown, field: string): bigint {
  const parsed = parseOffset(value)
  if (parsed === null || parsed < 0n) throw fieldError(field, value)
  return parsed
}
