import type {
  ReplicationReading,
  ReplicationSource,
} from 'opentelemetry-instrumentation-replication-lag'

/** A source whose every read waits until the test answers it. */
export class ScriptedSource implements ReplicationSource {
  readonly name: string
  /** The reads so far, oldest first. */
  readonly reads: PendingRead[] = []

  constructor(name = 'scripted') {
    this.name = name
  }

  read(signal: AbortSignal): Promise<ReplicationReading> {
    return new Promise((answer, fail) => {
      this.reads.push({ signal, answer, fail })
    })
  }

  /** The newest read. */
  get last(): PendingRead {
    const read = this.reads.at(-1)
    if (!read) throw new Error('the source was not read yet')
    return read
  }
}

interface PendingRead {
  readonly signal: AbortSignal
  answer(reading: ReplicationReading): void
  fail(error: unknown): void
}

/** A reading of one shard. */
export function reading(
  shard: string,
  leaderSeqno: number,
  applied: Record<string, number | undefined>,
): ReplicationReading {
  const followers = Object.entries(applied).map(([replica, appliedSeqno]) =>
    appliedSeqno === undefined ? { replica } : { replica, appliedSeqno },
  )
  return { shards: [{ shard, leaderSeqno, followers }] }
}
