import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'

/** What it does for some seconds: how many entries it writes, and for how many milliseconds it waits then. */
const PHASES = /** @type {const} */ ({
  idle: [0, 100],
  trickle: [1, 400],
  busy: [4, 30],
  bursts: [200, 1500],
})
const NAMES = /** @type {const} */ (['idle', 'trickle', 'busy', 'bursts'])
/** How many writes may be under way at once: a leader that hangs must not keep the load from the next one. */
const MOST = 3

/**
 * Writes with a changing rate until it is over. Writes may fail.
 *
 * @param {Pick<import('./system.js').System, 'write'>} system
 * @param {{ burst: number, random: () => number, isOver: () => boolean }} options `burst` is the number of entries of a burst.
 */
export async function writeUntil(system, { burst, random, isOver }) {
  let open = 0
  const write = async (/** @type {number} */ count) => {
    open++
    await system.write(count).catch(() => undefined)
    open--
  }
  while (!isOver()) {
    const name = NAMES[Math.floor(random() * NAMES.length)] ?? 'idle'
    const [count, pause] = PHASES[name]
    const end = performance.now() + 1000 + random() * 5000
    while (performance.now() < end && !isOver()) {
      const entries = name === 'bursts' ? burst : count
      if (entries > 0 && open < MOST) await Promise.race([write(entries), sleep(1000)])
      await sleep(pause)
    }
  }
}

/** Does each thing again and again until it is over, unless it is still being done. It may fail. @template T @param {{ millis: number, list: () => readonly T[], act: (each: T) => Promise<unknown>, isOver: () => boolean }} options */
export async function repeat({ millis, list, act, isOver }) {
  const open = new Set()
  while (!isOver()) {
    for (const each of list()) {
      if (open.has(each)) continue
      open.add(each)
      const done = () => open.delete(each)
      void act(each).then(done, done)
    }
    await sleep(millis)
  }
}

/** Returns a generator of numbers from 0 to 1, the same for a seed. @param {string} seed */
export function createRandom(seed) {
  let count = 0
  return () => createHash('md5').update(`${seed} ${count++}`).digest().readUInt32BE() / 2 ** 32
}
