import { setTimeout as sleep } from 'node:timers/promises'

/**
 * Waits until a condition holds, and says what it waited for if it never does.
 *
 * @template T
 * @param {string} what the condition in words: `standby-1 streams`
 * @param {() => T | Promise<T>} condition asked again and again; one that throws does not hold yet
 * @param {{ timeoutMillis?: number, signal?: AbortSignal | undefined }} [options] `signal` ends the wait immediately
 * @returns {Promise<T>} the first truthy answer
 */
export async function until(what, condition, { timeoutMillis = 20_000, signal } = {}) {
  const deadline = performance.now() + timeoutMillis
  for (;;) {
    /** @type {unknown} */
    let cause
    try {
      const answer = await condition()
      if (answer) return answer
    } catch (error) {
      cause = error
    }
    if (performance.now() > deadline) {
      const because = cause instanceof Error ? `: ${cause.message}` : ''
      throw new Error(`after ${timeoutMillis / 1000} s still not: ${what}${because}`, { cause })
    }
    await sleep(15, undefined, { signal })
  }
}
