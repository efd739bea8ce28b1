import { tell } from './diagnostics.js'

/** The two ways in which a gauge is attached to a reader. */
export type Attachment = 'instrumentation' | 'producer'

/** After so many collections of the producer in a row that asked both at once, it is no coincidence of two readers. */
const SUSPICIOUS = 3

/**
 * Notices when one reader has both attachments of a gauge, and so reports every follower twice. A reader does not tell who
 * it is, but it asks the ObservableGauges and the producers in one turn, before any promise settles.
 */
export class DoubleAttachment {
  #isInstrumentation = false
  #isProducer = false
  #inARow = 0
  #told = false

  /** An attachment was asked for its points. */
  asked(attachment: Attachment): void {
    if (!this.#isInstrumentation && !this.#isProducer) queueMicrotask(() => this.#endTurn())
    if (attachment === 'producer') this.#isProducer = true
    else this.#isInstrumentation = true
  }

  #endTurn(): void {
    // The instrumentation alone tells nothing: another reader may have it.
    if (this.#isProducer) this.#inARow = this.#isInstrumentation ? this.#inARow + 1 : 0
    this.#isInstrumentation = false
    this.#isProducer = false
    if (this.#inARow < SUSPICIOUS || this.#told) return
    this.#told = true
    tell(
      'warn',
      'a reader seems to have both a ReplicationLagInstrumentation and a ReplicationLagMetricProducer of one gauge, so it ' +
        'reports every follower twice: give it one of them, or the instrumentation observableGauges: false (told once)',
    )
  }
}
