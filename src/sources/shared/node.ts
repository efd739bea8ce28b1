import { startTimeout } from '../../support/timers.js'

/** Asks one node. A client may ignore the signal. */
export type Question<Answer> = (signal: AbortSignal) => Promise<Answer>

/** An answer, and when it arrived, in milliseconds as `performance.now()`. */
export interface Moment<Answer> {
  readonly answer: Answer
  readonly at: number
}

/** Is informed when a question has been answered or has failed. */
export interface Asker<Answer> {
  answered(name: string, moment: Moment<Answer>, askedAt: number): void
  failed(name: string, askedAt: number): void
}

const NO_ANSWER = new Error('no answer in time')

/** One node of a system. It is asked one question at a time, because a node that hangs must not collect questions. */
export class Node<Answer> {
  /** Whether reads wait for it. They do not if it failed or took too long the last time. */
  isAwaited = true
  /** How long its last answer took. */
  tookMillis = 0
  /** Its last answer, if that came when no read was waiting. */
  late: Moment<Answer> | undefined
  /** Why it has no answer. It stays the same while the node hangs, so that it is logged once. */
  failure: unknown = NO_ANSWER
  readonly askers = new Set<Asker<Answer>>()
  private controller: AbortController | undefined

  constructor(
    private readonly name: string,
    private readonly question: Question<Answer>,
  ) {}

  /** Asks, unless the last question is still open. The askers are informed of the outcome of either. */
  ask(timeoutMillis: number): void {
    if (!this.controller) void this.askOnce(timeoutMillis)
  }

  abort(reason: unknown): void {
    this.controller?.abort(reason)
  }

  private async askOnce(timeoutMillis: number): Promise<void> {
    // A controller for each question: more than ten listeners on one signal are reported as a leak.
    const controller = new AbortController()
    this.controller = controller
    const stopTimeout = startTimeout(() => controller.abort(NO_ANSWER), timeoutMillis)
    const askedAt = performance.now()
    try {
      const answer = await this.question(controller.signal)
      const moment = { answer, at: performance.now() }
      this.controller = undefined
      this.tookMillis = moment.at - askedAt
      this.failure = NO_ANSWER
      if (this.askers.size === 0) this.late = moment
      for (const asker of this.askers) asker.answered(this.name, moment, askedAt)
    } catch (error) {
      const { aborted, reason } = controller.signal as { aborted: boolean; reason: unknown }
      this.controller = undefined
      const wasStopped = aborted && reason !== NO_ANSWER
      if (!wasStopped) {
        this.failure = aborted ? reason : error
        this.isAwaited = false
      }
      for (const asker of this.askers) asker.failed(this.name, askedAt)
    } finally {
      stopTimeout()
    }
  }
}
