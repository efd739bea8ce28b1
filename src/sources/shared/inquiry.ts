import { startTimeout, watchPauses } from '../../support/timers.js'
import type { Asker, Moment, Node } from './node.js'
import { Survey } from './survey.js'

/** For how long answers are collected before leaders are asked, and a node that failed the last time is waited for. */
const COLLECT_MILLIS = 50

/** A pause of the process after which positions are read again. */
const PAUSE_MILLIS = 100

/** The part of the time of a read after which followers, leaders and newly found leaders are no longer waited for. */
const [FOLLOWERS, LEADERS, NEW_LEADERS] = [0.4, 0.8, 0.95] as const

/** One read of the nodes of a system. */
export class Inquiry<Answer> implements Asker<Answer> {
  readonly survey = new Survey<Answer>()
  /** When each node was asked. A node that failed is not asked again. */
  private readonly askedAt = new Map<string, number>()
  private readonly open = new Set<string>()
  /** Those of the open ones that are waited for. */
  private readonly awaited = new Set<string>()
  /** The part of the time that has passed. */
  private passed = 0
  private readonly timeouts: (() => void)[]
  private readonly collectMillis: number
  private found: readonly string[] | undefined
  private pausedAt = -Infinity
  private wake: () => void = () => undefined

  constructor(
    private readonly nodes: ReadonlyMap<string, Node<Answer>>,
    private readonly findLeaders: (answers: ReadonlyMap<string, Answer>) => Iterable<string>,
    private readonly presumed: readonly string[],
    private readonly timeoutMillis: number,
  ) {
    this.collectMillis = Math.min(COLLECT_MILLIS, timeoutMillis / 10)
    for (const [name, node] of nodes) {
      node.askers.add(this)
      this.survey.fail(name, node.failure)
      if (node.late) this.use(name, node.late, -Infinity)
      node.late = undefined
    }
    const parts = [FOLLOWERS, LEADERS, NEW_LEADERS]
    this.timeouts = parts.map((part) => startTimeout(() => this.pass(part), part * timeoutMillis))
    // The answer of a single node is compared with no other.
    if (nodes.size > 1) this.timeouts.push(watchPauses(() => this.resume(), PAUSE_MILLIS).stop)
  }

  /** The nodes that lead, according to the newest answers, or otherwise those that led before. */
  get leaders(): readonly string[] {
    if (this.found) return this.found
    const found = [...this.findLeaders(this.survey.newest)].filter((name) => this.nodes.has(name))
    return (this.found = found.length > 0 ? found : this.presumed)
  }

  async run(): Promise<void> {
    const { presumed } = this
    // One leader is asked only after its followers. Several follow each other, so those that answer late are asked last.
    const isSlow = (name: string) => this.node(name).tookMillis > this.collectMillis
    let last = presumed.length === 1 ? presumed : presumed.filter(isSlow)
    for (const name of this.nodes.keys()) if (!last.includes(name)) this.ask(name)
    do {
      await this.collect()
      for (const name of new Set([...last, ...this.leadersBehind()])) this.ask(name)
      last = []
      await this.until(() => this.leadersBehind().length > 0 || !this.isWaiting())
    } while (this.leadersBehind().length > 0)
  }

  answered(name: string, moment: Moment<Answer>, askedAt: number): void {
    this.use(name, moment, askedAt)
    const isOutdated = askedAt >= this.survey.startedAt && askedAt < this.pausedAt
    if (isOutdated) {
      this.renew(name)
    } else {
      this.askedAt.set(name, askedAt)
      this.settle(name)
    }
  }

  failed(name: string, askedAt: number): void {
    const isOld = askedAt < this.survey.startedAt
    // A question of an earlier read has ended, so this read can ask its own.
    if (isOld && this.open.has(name)) {
      this.ask(name)
    } else {
      this.survey.fail(name, this.node(name).failure)
      this.askedAt.set(name, Infinity)
      this.settle(name)
    }
  }

  abort(reason: unknown): void {
    this.awaited.clear()
    this.pass(1)
    for (const node of this.nodes.values()) node.abort(reason)
  }

  end(): void {
    this.pass(1)
    for (const stop of this.timeouts) stop()
    for (const node of this.nodes.values()) node.askers.delete(this)
    for (const name of this.open) {
      const node = this.node(name)
      this.survey.fail(name, node.failure)
      if (this.awaited.has(name)) node.isAwaited = false
    }
  }

  /** Asks again, once, because positions of before a pause must not be compared with later ones. */
  private resume(): void {
    if (this.pausedAt > 0) return
    this.pausedAt = performance.now()
    for (const name of this.survey.newest.keys()) if (!this.open.has(name)) this.renew(name)
  }

  private renew(name: string): void {
    this.survey.renew(name)
    this.ask(name)
  }

  private node(name: string): Node<Answer> {
    return this.nodes.get(name) as Node<Answer>
  }

  private ask(name: string): void {
    if (this.passed === 1) return
    const node = this.node(name)
    this.askedAt.set(name, performance.now())
    this.open.add(name)
    this.awaited.add(name)
    if (!node.isAwaited) {
      const giveUp = () => {
        this.awaited.delete(name)
        this.wake()
      }
      this.timeouts.push(startTimeout(giveUp, this.collectMillis))
    }
    node.ask(this.timeoutMillis)
  }

  private use(name: string, moment: Moment<Answer>, askedAt: number): void {
    this.survey.add(name, moment, askedAt)
    this.found = undefined
    const node = this.node(name)
    const isInTime = () => node.tookMillis <= this.patienceFor(name) * this.timeoutMillis
    node.isAwaited = this.isWaitingFor(name) || isInTime()
  }

  private settle(name: string): void {
    this.open.delete(name)
    this.awaited.delete(name)
    this.wake()
  }

  private pass(part: number): void {
    this.passed = part
    this.wake()
  }

  private patienceFor(name: string): number {
    if (!this.leaders.includes(name)) return FOLLOWERS
    return this.presumed.includes(name) ? LEADERS : NEW_LEADERS
  }

  private isWaiting(): boolean {
    return [...this.awaited].some((name) => this.isWaitingFor(name))
  }

  private isWaitingFor(name: string): boolean {
    if (!this.awaited.has(name)) return false
    return this.passed < FOLLOWERS || this.passed < this.patienceFor(name)
  }

  /** The leaders that have not been asked since another node answered, and can still answer. */
  private leadersBehind(): string[] {
    return this.leaders.filter((name) => {
      if (this.open.has(name) || this.passed >= this.patienceFor(name)) return false
      return this.survey.isBehind(name, this.askedAt.get(name) ?? -Infinity)
    })
  }

  /** Waits a little until the nodes that were asked have answered. */
  private async collect(): Promise<void> {
    let isOver = false
    const end = () => {
      isOver = true
      this.wake()
    }
    const stop = startTimeout(end, this.collectMillis)
    await this.until(() => isOver || !this.isWaiting())
    stop()
  }

  private async until(isTrue: () => boolean): Promise<void> {
    while (!isTrue()) await new Promise<void>((resolve) => (this.wake = resolve))
  }
}
