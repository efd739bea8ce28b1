interface Log {
  end: bigint
  /** How often it has become shorter. */
  falls: number
  topicId: string | undefined
  name: string
  /** The reading that it was last in. */
  reading: number
}

/**
 * Names the histories of logs. It changes when a topic is recreated (which kafkajs cannot see) and when records are lost.
 * Both make the log shorter.
 */
export class Epochs {
  private readonly logs = new Map<string, Log>()
  private reading = 0
  private count = 0

  epochOf(shard: string, end: bigint, topicId: string | undefined): string {
    const log = this.logs.get(shard)
    if (!log) this.logs.set(shard, this.create(end, topicId))
    this.count++
    if (!log) return nameOf(0, topicId)
    log.reading = this.reading
    if (end < log.end || topicId !== log.topicId) {
      if (end < log.end) log.falls++
      log.topicId = topicId
      log.name = nameOf(log.falls, topicId)
    }
    log.end = end
    return log.name
  }

  /** Ends a reading. Logs that a complete one lacks do not exist. */
  end(isComplete: boolean): void {
    if (isComplete && this.count < this.logs.size) {
      for (const [shard, { reading }] of this.logs) {
        if (reading !== this.reading) this.logs.delete(shard)
      }
    }
    this.reading++
    this.count = 0
  }

  private create(end: bigint, topicId: string | undefined): Log {
    return { end, falls: 0, topicId, name: nameOf(0, topicId), reading: this.reading }
  }
}

function nameOf(falls: number, topicId: string | undefined): string {
  return topicId === undefined ? `${falls}` : `${topicId}/${falls}`
}
