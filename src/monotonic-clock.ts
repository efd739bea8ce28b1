/** Tells the time in milliseconds since some moment. */
export type Clock = () => number

/**
 * Makes a clock that never goes back of one that may: the sum of all the steps forward, so it begins at 0.
 * Where the other goes back, stands still, throws or says what is no finite number, this one stands still; a jump
 * forward cannot be told from time, and passes as such.
 *
 * @param clock by default the process's own monotonic clock, which no change of the wall clock moves.
 */
export function monotonicClock(clock: Clock = () => performance.now()): Clock {
  let last = Number.NaN
  let elapsed = 0
  const tick = () => {
    try {
      const now = clock()
      if (!Number.isFinite(now)) return elapsed
      const step = now - last
      if (step > 0 && Number.isFinite(elapsed + step)) elapsed += step
      last = now
    } catch {
      // The clock is the user's: what it throws must not reach a collection.
    }
    return elapsed
  }
  tick()
  return tick
}
