import { startTimeout } from '../../support/timers.js'
import type { Deadline, Failure } from './answer.js'

/** An answer about a part, or why there is none. */
export type Outcome<Answer> =
  | { readonly answer: Answer; readonly error?: undefined }
  | (Failure & { readonly answer?: undefined })

/** The part of the time that is left which a read waits. */
const PATIENCE = 0.4

/** How long it waits for those that failed or took too long the last time. */
const GRACE_MILLIS = 50

const NO_ANSWER: Failure = { error: new Error('no answer in time') }

/**
 * Asks the same question about several parts of a cluster, so that one that hangs or fails does not affect the others. There
 * can be thousands, and each is asked one question at a time.
 */
export class Parts<Part, Answer> {
  private readonly open = new Set<string>()
  /** Why those that failed or took too long the last time did. */
  private readonly slow = new Map<string, Failure>()

  constructor(private readonly ask: (part: Part, key: string) => Promise<Answer>) {}

  /** Rejects only with the reason of the signal. */
  async read(
    parts: ReadonlyMap<string, Part>,
    { signal, left }: Deadline,
  ): Promise<ReadonlyMap<string, Outcome<Answer>>> {
    signal.throwIfAborted()
    const patience = left() * PATIENCE
    const outcomes = new Map<string, Outcome<Answer>>()
    for (const key of this.slow.keys()) if (!parts.has(key)) this.slow.delete(key)
    // A reason that changed with each read would be logged each time.
    for (const key of parts.keys()) outcomes.set(key, this.slow.get(key) ?? NO_ANSWER)
    const asked = [...parts].filter(([key]) => !this.open.has(key))
    const waiting = new Set(asked.map(([key]) => key))
    const awaited = new Set([...waiting].filter((key) => !this.slow.has(key)))
    // If all were slow, there is nothing that waiting for them would delay.
    if (awaited.size === 0) for (const key of waiting) awaited.add(key)
    let isGracious = true
    let wake: () => void = () => undefined
    const over = new Promise<void>((resolve) => (wake = resolve))
    const check = () => {
      if (awaited.size === 0 && (waiting.size === 0 || !isGracious)) wake()
    }
    for (const [key, part] of asked) {
      void this.askAbout(key, part, patience).then((outcome) => {
        if (!waiting.delete(key)) return
        awaited.delete(key)
        outcomes.set(key, outcome)
        check()
      })
    }
    check()
    const endGrace = () => {
      isGracious = false
      check()
    }
    const stops = [startTimeout(wake, patience), startTimeout(endGrace, GRACE_MILLIS)]
    signal.addEventListener('abort', wake)
    await over
    signal.removeEventListener('abort', wake)
    for (const stop of stops) stop()
    for (const key of awaited) this.slow.set(key, NO_ANSWER)
    waiting.clear()
    signal.throwIfAborted()
    return outcomes
  }

  /** Whether a question of an earlier read about this part is not answered yet. */
  isOpen(key: string): boolean {
    return this.open.has(key)
  }

  private async askAbout(key: string, part: Part, patience: number): Promise<Outcome<Answer>> {
    this.open.add(key)
    const start = performance.now()
    try {
      const answer = await this.ask(part, key)
      if (performance.now() - start <= patience) this.slow.delete(key)
      return { answer }
    } catch (error) {
      this.slow.set(key, { error })
      return { error }
    } finally {
      this.open.delete(key)
    }
  }
}
