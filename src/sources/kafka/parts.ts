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

/** How many things are asked about in one question: clients build and parse it in one turn of the event loop. */
export const PIECE = 1000

/** How many questions are asked in one turn. */
const QUESTIONS = 100

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

  /** @param parentOf returns the part that a smaller part is of. If that is slow, the smaller one can be. */
  constructor(
    private readonly ask: (part: Part, key: string) => Promise<Answer>,
    private readonly parentOf = (key: string) => key,
  ) {}

  /**
   * Rejects only with the reason of the signal.
   *
   * @param all the parts that exist, if some were read before.
   */
  async read(
    parts: ReadonlyMap<string, Part>,
    { signal, left }: Deadline,
    all: ReadonlyMap<string, unknown> = parts,
  ): Promise<ReadonlyMap<string, Outcome<Answer>>> {
    for (const key of this.slow.keys()) if (!all.has(key)) this.slow.delete(key)
    signal.throwIfAborted()
    const patience = left() * PATIENCE
    const outcomes = new Map<string, Outcome<Answer>>()
    const reading = { outcomes, end: performance.now() + patience, isOver: false }
    const [quick, slow]: [Promise<void>[], Promise<void>[]] = [[], []]
    for (const [key, part] of parts) {
      // A reason that changed with each read would be logged each time.
      const failure = this.slow.get(key)
      outcomes.set(key, failure ?? NO_ANSWER)
      if (this.open.has(key)) continue
      const list = (failure ?? this.slow.get(this.parentOf(key))) ? slow : quick
      list.push(this.askOnce(key, part, reading))
      if (list.length % QUESTIONS === 0) await pause()
    }
    // If all were slow, there is nothing that waiting for them would delay.
    const grace = quick.length > 0 ? Math.min(GRACE_MILLIS, patience) : patience
    const waiting = [within(Promise.all(quick), patience), within(Promise.all(slow), grace)]
    await orAborted(Promise.all(waiting), signal)
    for (const key of parts.keys()) {
      if (this.open.has(key) && !this.slow.has(key)) this.slow.set(key, NO_ANSWER)
    }
    reading.isOver = true
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

  /** Why a part failed or took too long the last time. */
  failureOf(key: string): Failure | undefined {
    return this.slow.get(key)
  }

  private async askOnce(key: string, part: Part, reading: Reading<Answer>): Promise<void> {
    const { open } = this
    open.add(key)
    let outcome: Outcome<Answer>
    try {
      outcome = { answer: await this.ask(part, key) }
      if (performance.now() <= reading.end) this.slow.delete(key)
    } catch (error) {
      outcome = { error }
      this.slow.set(key, outcome)
    }
    open.delete(key)
    if (!reading.isOver) reading.outcomes.set(key, outcome)
  }
}

interface Reading<Answer> {
  readonly outcomes: Map<string, Outcome<Answer>>
  /** Until when an answer counts as quick. */
  readonly end: number
  isOver: boolean
}

/** Items that were asked about in one question, and its outcome. */
export type Batch<Item, Answer> = readonly [items: readonly Item[], outcome: Outcome<Answer>]

/** Into how many smaller questions one that fails is split by default: a broker that hangs must not collect questions. */
const SPLIT = 8

/** How often one read waits for questions that hang. */
const MAX_WAITS = 2

/**
 * Asks about many items, those of a key in one question. If that fails or has no answer, smaller questions are asked as well,
 * so that in the end only the item that is the reason is unknown.
 */
export class Batches<Item, Answer> {
  private readonly parts: Parts<readonly Item[], Answer>

  /** @param pieces into how many smaller questions one is split. */
  constructor(
    ask: (items: readonly Item[], key: string) => Promise<Answer>,
    private readonly pieces = SPLIT,
  ) {
    this.parts = new Parts(ask, (key) => key.slice(0, key.lastIndexOf('.')))
  }

  /** Lets it ask everything again, because another client will. */
  reopen(): void {
    this.parts.reopen()
  }

  /** Rejects only with the reason of the signal. */
  async read(
    lists: ReadonlyMap<string, readonly Item[]>,
    deadline: Deadline,
  ): Promise<readonly Batch<Item, Answer>[]> {
    const outcomes = new Map<string, Outcome<Answer>>()
    const roots = [...lists].flatMap(([key, items]) => split(items, `${key}/`, PIECE))
    for (let waits = 0; waits < MAX_WAITS;) {
      const questions = new Map(roots.flatMap((root) => this.questionsAbout(root)))
      const added = new Map([...questions].filter(([key]) => !outcomes.has(key)))
      if (added.size === 0) break
      const found = await this.parts.read(added, deadline, questions)
      for (const [key, outcome] of found) outcomes.set(key, outcome)
      if ([...found.values()].some(({ error }) => error === NO_ANSWER.error)) waits++
    }
    const batchesOf = ([key, items]: Asked<Item>): readonly Batch<Item, Answer>[] => {
      const outcome = outcomes.get(key) ?? NO_ANSWER
      const isSplit = outcome.error !== undefined && outcomes.has(`${key}.0`)
      return isSplit ? this.smaller([key, items]).flatMap(batchesOf) : [[items, outcome]]
    }
    return roots.flatMap(batchesOf)
  }

  private smaller([key, items]: Asked<Item>): Asked<Item>[] {
    return split(items, `${key}.`, Math.max(1, Math.ceil(items.length / this.pieces)))
  }

  /** Returns a question, and the smaller ones that are asked because it failed the last time. */
  private questionsAbout(question: Asked<Item>): Asked<Item>[] {
    const [key, items] = question
    const failure = this.parts.failureOf(key)
    if (!failure || items.length === 1) return [question]
    const hangs = failure === NO_ANSWER
    if (!hangs && isUnreachable(failure.error)) return [question]
    const parts = this.smaller(question)
    // If none of these has an answer either, the reason is not one of the items.
    const isOfUse = !hangs || parts.some(([each]) => this.parts.failureOf(each) !== NO_ANSWER)
    return [question, ...(isOfUse ? parts.flatMap((each) => this.questionsAbout(each)) : parts)]
  }
}

type Asked<Item> = readonly [key: string, items: readonly Item[]]

function split<Item>(items: readonly Item[], prefix: string, size: number): Asked<Item>[] {
  const pieces: Asked<Item>[] = []
  for (let i = 0; i * size < items.length; i++) {
    pieces.push([`${prefix}${i}`, items.slice(i * size, (i + 1) * size)])
  }
  return pieces
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

/** How long this module may work in one turn of the event loop. */
const TURN_MILLIS = 10

let turnStartedAt: number | undefined

/** Whether it is time for a pause. */
export function isLongTurn(): boolean {
  if (turnStartedAt !== undefined) return performance.now() - turnStartedAt > TURN_MILLIS
  turnStartedAt = performance.now()
  setImmediate(() => (turnStartedAt = undefined))
  return false
}
