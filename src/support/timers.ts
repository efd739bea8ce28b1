/** Lets the process end while a timer is pending. Timers of some environments, such as jsdom, are numbers. */
export function unref<Timer>(timer: Timer): Timer {
  ;(timer as { unref?: () => void }).unref?.()
  return timer
}

/** A timeout is counted in so many ticks, of at least a millisecond. */
const MAX_TICKS = 10

/**
 * Calls back after a time in which the event loop was free to receive answers. Node runs timers before it reads sockets, so
 * a plain timer that is overdue after the event loop was blocked fires before answers that have already arrived.
 *
 * @returns a function that ends it.
 */
export function startTimeout(callback: () => void, millis: number): () => void {
  const ticks = Math.max(1, Math.min(MAX_TICKS, Math.floor(millis)))
  let left = ticks
  let last: ReturnType<typeof setImmediate> | undefined
  const timer = setInterval(() => {
    if (--left > 0) return
    clearInterval(timer)
    // Immediates run after sockets were read.
    last = setImmediate(callback)
  }, millis / ticks)
  unref(timer)
  return () => {
    clearInterval(timer)
    clearImmediate(last)
  }
}
