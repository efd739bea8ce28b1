import type pg from 'pg'
import { connectReplication, major, type PostgresNode } from './postgres.js'

interface WalReceiverOptions {
  readonly applicationName: string
  /** The slot to stream from. */
  readonly slot?: string
  /** Creates the slot, which ends with the connection. */
  readonly temporary?: boolean
  /** A publication to decode. Without it, the stream is physical. */
  readonly publication?: string
  /** Whether to confirm what arrives. Default: true. */
  readonly confirms?: boolean
  /** Whether to ask for messages of pg_logical_emit_message. Default: true. pgoutput sends none by itself. */
  readonly messages?: boolean
}

/** What `pg` has besides its types: the connection of a client, in copy mode. */
interface CopyConnection {
  on(event: 'copyData', listener: (message: { chunk: Buffer }) => void): unknown
  sendCopyFromChunk(chunk: Buffer): void
}

/** A program that receives WAL and applies nothing, such as pg_receivewal, pg_basebackup or a consumer of changes. */
export class WalReceiver {
  private constructor(
    private readonly client: pg.Client,
    private readonly isLogical: boolean,
  ) {}

  static async start(node: PostgresNode, options: WalReceiverOptions): Promise<WalReceiver> {
    const { applicationName, slot, temporary, publication, confirms = true } = options
    const { messages = true } = options
    const mode = publication === undefined ? 'true' : 'database'
    const client = await connectReplication(node, applicationName, mode)
    const { rows } = await client.query<{ xlogpos: string }>('IDENTIFY_SYSTEM')
    if (temporary) {
      const type = publication === undefined ? 'PHYSICAL' : 'LOGICAL pgoutput'
      await client.query(`CREATE_REPLICATION_SLOT ${slot} TEMPORARY ${type}`)
    }
    const { connection } = client as unknown as { connection: CopyConnection }
    connection.on('copyData', ({ chunk }) => {
      const position = positionOf(chunk)
      if (confirms && position !== undefined) {
        connection.sendCopyFromChunk(statusUpdate(position, publication !== undefined))
      }
    })
    const from = slot === undefined ? '' : `SLOT ${slot}`
    const what =
      publication === undefined
        ? `PHYSICAL ${rows[0]?.xlogpos}`
        : `LOGICAL 0/0 (proto_version '1', publication_names '${publication}'${messages && major >= 14 ? ", messages 'true'" : ''})`
    // It resolves when the stream ends.
    client.query(`START_REPLICATION ${from} ${what}`).catch(() => undefined)
    return new WalReceiver(client, publication !== undefined)
  }

  /** Confirms a position, whatever has arrived. */
  confirm(position: bigint): void {
    const { connection } = this.client as unknown as { connection: CopyConnection }
    connection.sendCopyFromChunk(statusUpdate(position, this.isLogical))
  }

  stop(): Promise<void> {
    return this.client.end()
  }
}

/** The end of the WAL in a message with data. A keepalive is only answered if the server asks for it. */
function positionOf(chunk: Buffer): bigint | undefined {
  const type = String.fromCharCode(chunk[0] ?? 0)
  if (type === 'w') return chunk.readBigUInt64BE(1) + BigInt(chunk.length - 25)
  return undefined
}

function statusUpdate(position: bigint, isLogical: boolean): Buffer {
  const status = Buffer.alloc(34)
  status.write('r')
  status.writeBigUInt64BE(position, 1)
  status.writeBigUInt64BE(position, 9)
  // A program that only receives WAL reports no applied position.
  status.writeBigUInt64BE(isLogical ? position : 0n, 17)
  return status
}
