import { startTimeout } from '../../support/timers.js'
import { orAborted } from '../shared/abort.js'
import type { Cluster, Failure, Question } from './answer.js'
import { isUnreachable } from './errors.js'

/** A client of Kafka. */
export interface KafkaClient {
  /** Rejects if nothing can be read. */
  read(question: Question, deadline: Deadline): Promise<Cluster>
}

/** The end of a read. */
export interface Deadline {
  readonly signal: AbortSignal
  /** How many milliseconds are left. */
  readonly left: () => number
}

/** An answer about a part, or why there is none. */
export type Outcome<Answer> =
  | { readonly answer: Answer; readonly error?: undefined }
  | (Failure & { readonly answer?: undefined })

/** The part of the time that is left which a read waits. */
export const PATIENCE = 0.4

/** How many things are asked about in one turn of the event loop, and in one question: clients build and parse it in one turn. */
const PIECE = 1000

/** How long it waits for those that failed or took too long the last time. */
const GRACE_MILLIS = 50

export const NO_ANSWER: Failure = { error: new Error('no answer in time') }
export const UNANSWERED: Failure = { error: new Error('the brokers have not answered about it') }

/**
 * Asks the same question about several parts of a cluster, so that one that hangs or fails does not affect the others. There
 * can be thousands, which is too many for `Nodes`. Each is asked one question at a time.
 */
export class Parts<Part, Answer> {
  private open = new Set<string>()
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
    for (const key of this.slow.keys()) if (!parts.has(key)) this.slow.delete(key)
    const end = performance.now() + patience
    const outcomes = new Map<string, Outcome<Answer>>()
    let isOver = false
    let asked = 0
    const [quick, slow]: [Promise<void>[], Promise<void>[]] = [[], []]
    for (const [key, part] of parts) {
      // A reason that changed with each read would be logged each time.
      const failure = this.slow.get(key)
      outcomes.set(key, failure ?? NO_ANSWER)
      if (this.open.has(key)) continue
      if (++asked % PIECE === 0) await pause()
      const asking = this.askOnce(key, part, end)
      const list = failure ? slow : quick
      const keep = (outcome: Outcome<Answer>) => {
        if (!isOver) outcomes.set(key, outcome)
      }
      list.push(asking.then(keep))
    }
    // If all were slow, there is nothing that waiting for them would delay.
    const grace = quick.length > 0 ? Math.min(GRACE_MILLIS, patience) : patience
    const waiting = [within(Promise.all(quick), patience), within(Promise.all(slow), grace)]
    await orAborted(Promise.all(waiting), signal)
    for (const key of parts.keys()) {
      if (this.open.has(key) && !this.slow.has(key)) this.slow.set(key, NO_ANSWER)
    }
    isOver = true
    return outcomes
  }

  /** Reads one part. */
  async readOne(part: Part, deadline: Deadline): Promise<Outcome<Answer>> {
    const outcomes = await this.read(new Map([['', part]]), deadline)
    return outcomes.get('') as Outcome<Answer>
  }

  /** Lets it ask everything again, because another client will. */
  reopen(): void {
    this.open = new Set()
  }

  private async askOnce(key: string, part: Part, end: number): Promise<Outcome<Answer>> {
    const { open } = this
    open.add(key)
    try {
      const answer = await this.ask(part, key)
      if (performance.now() <= end) this.slow.delete(key)
      return { answer }
    } catch (error) {
      this.slow.set(key, { error })
      return { error }
    } finally {
      open.delete(key)
    }
  }
}

/** Settles as the promise does, or resolves to `undefined` after a time. */
export async function within<T>(promise: Promise<T>, millis: number): Promise<T | undefined> {
  let stop: () => void = () => undefined
  const timeout = new Promise<undefined>((resolve) => {
    stop = startTimeout(() => resolve(undefined), millis)
  })
  try {
    return await Promise.race([promise, timeout])
  } finally {
    stop()
  }
}

/** Lets the event loop run between two pieces of work. */
export function pause(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/**
 * Asks about all things at once. If that fails for a reason that can lie in one of them, it asks about each half, so that only
 * that one is unknown in the end.
 *
 * @param fail is called for what is unknown.
 */
export async function askAll<Item>(
  items: readonly Item[],
  ask: (items: readonly Item[]) => Promise<void>,
  fail: (item: Item, error: unknown) => void,
): Promise<void> {
  const middle = items.length >> 1
  const halves = [items.slice(0, middle), items.slice(middle)]
  if (items.length > PIECE) {
    for (const half of halves) {
      await askAll(half, ask, fail)
      await pause()
    }
    return
  }
  try {
    await ask(items)
  } catch (error) {
    if (middle === 0 || isUnreachable(error)) for (const item of items) fail(item, error)
    else await Promise.all(halves.map((half) => askAll(half, ask, fail)))
  }
}
