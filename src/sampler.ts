import { tell } from './diagnostics.js'
import { errorMessage } from './show.js'

/** That somebody reports lag in seconds, and how. */
export interface SamplingWish {
  /** How often to look where the leaders are, in milliseconds, 1 … 2^31 − 1. */
  readonly intervalMillis: number
  /** Whether a leader that no follower was seen of counts as having one. */
  readonly withUnseen: boolean
}

/**
 * Looks regularly where the leaders of a gauge are, to measure lag in seconds by: once for all who report it, as often as
 * the most eager of them wishes. The timer keeps neither the process alive nor those who wish.
 */
export class Sampler {
  readonly #sample: (withUnseen: boolean) => void
  readonly #forget: () => void
  readonly #wishes = new Map<WeakRef<object>, SamplingWish>()
  #timer: NodeJS.Timeout | undefined
  #toldFailure = false

  /**
   * @param sample takes a sample of every leader.
   * @param forget told when nobody wishes it any more.
   */
  constructor(sample: (withUnseen: boolean) => void, forget: () => void) {
    this.#sample = sample
    this.#forget = forget
  }

  /** Starts to sample for somebody, at once, until {@link stop} or until that somebody is garbage. */
  start(holder: object, wish: SamplingWish): void {
    this.#wishes.set(new WeakRef(holder), wish)
    this.#look()
    this.#schedule()
  }

  stop(holder: object): void {
    for (const held of this.#wishes.keys()) {
      if (held.deref() === holder) this.#wishes.delete(held)
    }
    this.#schedule()
  }

  #schedule(): void {
    clearInterval(this.#timer)
    if (this.#wishes.size === 0) {
      // Whoever changes how it reports stops and starts again at once: nothing is lost then.
      queueMicrotask(() => {
        if (this.#wishes.size === 0) this.#forget()
      })
      return
    }
    const intervals = [...this.#wishes.values()].map(({ intervalMillis }) => intervalMillis)
    this.#timer = setInterval(() => this.#tick(), Math.min(...intervals)).unref()
  }

  #tick(): void {
    const abandoned = [...this.#wishes.keys()].filter((held) => held.deref() === undefined)
    for (const held of abandoned) this.#wishes.delete(held)
    if (abandoned.length > 0) this.#schedule()
    if (this.#wishes.size > 0) this.#look()
  }

  /** Never throws: it would end the process from the timer. */
  #look(): void {
    try {
      this.#sample([...this.#wishes.values()].some(({ withUnseen }) => withUnseen))
    } catch (error) {
      if (this.#toldFailure) return
      this.#toldFailure = true
      tell('error', `cannot measure lag in seconds: ${errorMessage(error)} (told once)`)
    }
  }
}
