interface Log {
  end: bigint
  /** How often it has become shorter. */
  falls: number
  topicId: string | undefined
  name: string
}

/**
 * Names the histories of logs. It changes when a topic is recreated (which kafkajs cannot see) and when records are lost.
 * Both make the log shorter.
 */
export class Epochs {
  private readonly topics = new Map<string, { readonly groups: Log[]; readonly brokers: Log[] }>()

  /** Returns the logs of a topic as groups and as brokers see them, by the numbers of its partitions. */
  logsOf(topic: string) {
    const logs = this.topics.get(topic) ?? { groups: [], brokers: [] }
    this.topics.set(topic, logs)
    return logs
  }

  /** Forgets other topics than these. */
  keep(topics: ReadonlyMap<string, unknown>): void {
    for (const topic of this.topics.keys()) if (!topics.has(topic)) this.topics.delete(topic)
  }
}

export function epochOf(
  logs: Log[],
  partition: number,
  end: bigint,
  topicId: string | undefined,
): string {
  const log = (logs[partition] ??= { end, falls: 0, topicId, name: nameOf(0, topicId) })
  if (end < log.end || topicId !== log.topicId) {
    if (end < log.end) log.falls++
    log.topicId = topicId
    log.name = nameOf(log.falls, topicId)
  }
  log.end = end
  return log.name
}

function nameOf(falls: number, topicId: string | undefined): string {
  return topicId === undefined ? `${falls}` : `${topicId}/${falls}`
}
