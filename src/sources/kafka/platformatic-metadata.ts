import { createPartition, fieldsOf, index, list, name, type Failure, type Topic } from './answer.js'

/** Metadata of a topic as the client keeps it. */
export type Cached = ReturnType<typeof toCached>

/** Parses the metadata of a topic as the client returns it. */
export function parseTopic(value: unknown): Topic | Failure {
  if (value === undefined) return { error: new Error('it does not exist') }
  const { id, partitions: rows } = fieldsOf(value)
  const partitions = list(rows, 'partitions').map((row, partition) => {
    const { leader, replicas } = fieldsOf(row)
    const ids = list(replicas ?? [], 'replicas') as readonly number[]
    for (const each of ids) index(each, 'replicas')
    return createPartition(partition, Number.isInteger(leader) ? Number(leader) : -1, ids)
  })
  return { id: id === undefined ? undefined : name(id, 'id'), partitions }
}

/** Returns the metadata of a topic as the client keeps it, from the answer of a broker. */
export function toCached(row: unknown) {
  const { topicId: id, partitions: rows } = fieldsOf(row)
  const partitions: object[] = []
  for (const each of list(rows, 'partitions')) {
    const partition = fieldsOf(each)
    partitions[index(partition['partitionIndex'], 'partitionIndex')] = {
      leader: partition['leaderId'],
      leaderEpoch: partition['leaderEpoch'],
      replicas: partition['replicaNodes'],
      isr: partition['isrNodes'],
      offlineReplicas: partition['offlineReplicas'],
    }
  }
  return { id, partitions, partitionsCount: partitions.length, lastUpdate: Date.now() }
}
