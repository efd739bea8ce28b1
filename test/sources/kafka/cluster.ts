import type { ReplicationSource } from 'opentelemetry-instrumentation-replication-lag'
import { Consumer, Writer } from '@platformatic/kafka'
import type { KafkaSourceOptions } from 'opentelemetry-instrumentation-replication-lag/sources/kafka'
import { onTestFinished } from 'vitest'
import { KafkaCluster } from '../../servers/kafka.mjs'
import { useStarted } from '../contract.js'
import { read, readShard } from '../shared/systems.js'

export const CLIENTS = ['kafkajs', '@platformatic/kafka']

/** Starts brokers for the tests of a file. */
export function useCluster(count: number): () => KafkaCluster {
  return useStarted((servers) => KafkaCluster.start(servers, count))
}

/** Creates a source whose client is closed when the test ends. */
export async function connect(
  cluster: KafkaCluster,
  client: string,
  source: { [Name in keyof KafkaSourceOptions]?: KafkaSourceOptions[Name] | undefined },
): Promise<ReplicationSource> {
  const connected = await cluster.connect({ client, source: { ...source } })
  onTestFinished(() => connected.close())
  return connected.source
}

/** Reads what is seen of a follower. It is undefined if the follower is not in the reading. */
export async function seen(source: ReplicationSource, shard: string, replica: string) {
  const { shards } = await read(source)
  const isThere = shards.some((each) => each.shard === shard)
  return isThere ? (await readShard(source, shard)).seen[replica] : undefined
}

/** Starts a consumer of the new protocol (KIP-848), and returns a function that ends it. */
export async function startNewConsumer(
  { brokers: [{ port }] }: KafkaCluster,
  group: string,
  topic: string,
) {
  const consumer = new Consumer({
    clientId: group,
    groupId: group,
    bootstrapBrokers: [`127.0.0.1:${port}`],
    groupProtocol: 'consumer',
  })
  const close = () =>
    new Promise<void>((resolve) => {
      consumer.close(true, () => resolve())
    })
  onTestFinished(close)
  const stream = await consumer.consume({ topics: [topic], mode: 'earliest', maxWaitTime: 100 })
  stream.on('data', () => undefined)
  // Closed between two of its requests, it fails.
  stream.on('error', () => undefined)
  return close
}

/** Joins a share group as a member, which creates it. No JavaScript client has a consumer for it. */
export async function joinShareGroup({ admin }: KafkaCluster, group: string, topic: string) {
  const [connection] = (await admin.connectToBrokers([1])).values()
  const [heartbeat, version] = [76, 1]
  const createRequest = () =>
    Writer.create()
      .appendString(group)
      .appendString('bWVtYmVyIG9mIGdyb3VwIQ')
      .appendInt32(0)
      .appendString(null)
      .appendArray([topic], (writer, each) => writer.appendString(each), true, false)
      .appendTaggedFields()
  await new Promise<void>((resolve, reject) => {
    const parse = () => ({})
    connection?.send(heartbeat, version, createRequest, parse, true, true, (error: Error | null) =>
      error ? reject(error) : resolve(),
    )
  })
}
