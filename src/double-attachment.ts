import { tell } from './diagnostics.js'

/** The two ways in which a gauge is attached to a reader. */
export type Attachment = 'instrumentation' | 'producer'

/** After so many collections in a row that asked both at once, it is no coincidence of two readers. */
const SUSPICIOUS = 3

/**
 * Notices when one reader has both attachments of a gauge, and so reports every follower twice. A reader does not tell who
 * it is, but it asks the ObservableGauges and the producers in one turn, before any promise settles.
 */
export class DoubleAttachment {
  #asked: Attachment | undefined
  #isDouble = false
  #inARow = 0
  #told = false

  /** An attachment was asked for its points. */
  asked(attachment: Attachment): void {
    if (this.#asked === undefined) {
      this.#asked = attachment
      queueMicrotask(() => this.#endTurn())
    } else if (this.#asked !== attachment) {
      this.#isDouble = true
    }
  }

  #endTurn(): void {
    this.#inARow = this.#isDouble ? this.#inARow + 1 : 0
    this.#asked = undefined
    this.#isDouble = false
    if (this.#inARow < SUSPICIOUS || this.#told) return
    this.#told = true
    tell(
      'warn',
      'a reader has both a ReplicationLagInstrumentation and a ReplicationLagMetricProducer of one gauge, so it ' +
        'reports every follower twice: give it one of them, or the instrumentation observableGauges: false (told once)',
    )
  }
}
