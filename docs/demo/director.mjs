import { setTimeout as sleep } from 'node:timers/promises'

/** @typedef {import('./system.mjs').Scene} Scene */

const CALM_MILLIS = 5_000
const SCENE_MILLIS = 12_000

/** Plays one scene after another, until a key takes over. */
export class Director {
  #scenes
  #signal
  #fail
  /** Ends the automatic scenes. */
  #takeOver = new AbortController()
  /** What is being broken or mended. One at a time. @type {Promise<void>} */
  #work = Promise.resolve()
  /** @type {Scene | undefined} */
  current
  isBusy = false

  /**
   * @param {readonly Scene[]} scenes
   * @param {AbortSignal} signal ends the demo
   * @param {(error: unknown) => void} fail is called if a scene fails
   */
  constructor(scenes, signal, fail) {
    this.#scenes = scenes
    this.#signal = signal
    this.#fail = fail
  }

  async run() {
    const signal = AbortSignal.any([this.#signal, this.#takeOver.signal])
    const isPlaying = () => !signal.aborted
    const steps = this.#scenes.flatMap((scene) => [
      { millis: CALM_MILLIS, next: scene },
      { millis: SCENE_MILLIS, next: undefined },
    ])
    for (let index = 0; isPlaying(); index++) {
      const step = steps[index % steps.length]
      await sleep(step?.millis, undefined, { signal }).catch(() => undefined)
      if (isPlaying()) await this.#switchTo(step?.next)
    }
  }

  /**
   * Starts the scene of a key in place of the current one, or ends it.
   *
   * @param {string} key
   */
  press(key) {
    const scene = this.#scenes.find((each) => each.key === key)
    if (!scene) return
    this.#takeOver.abort()
    // Keys that come while servers start or stop are lost, because it is unclear what they meant.
    if (!this.isBusy) void this.#switchTo(scene === this.current ? undefined : scene)
  }

  /** @param {Scene | undefined} scene */
  #switchTo(scene) {
    const run = async () => {
      this.isBusy = true
      const last = this.current
      this.current = undefined
      await last?.end()
      await scene?.begin()
      this.current = scene
      this.isBusy = false
    }
    return (this.#work = this.#work.then(run).catch(this.#fail))
  }
}
