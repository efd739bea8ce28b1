/** Lets the process end while a timer is pending. Timers of some environments, such as jsdom, are numbers. */
export function unref<Timer>(timer: Timer): Timer {
  ;(timer as { unref?: () => void }).unref?.()
  return timer
}

/**
 * Calls back with its length after each pause: the event loop was blocked, or the process frozen, for longer than this. What
 * was read before it must not be compared with what is read later.
 *
 * @returns functions that notice a pause immediately, and that end this.
 */
export function watchPauses(callback: (length: number) => void, millis: number) {
  let last = performance.now()
  const check = () => {
    const now = performance.now()
    if (now - last > millis) callback(now - last)
    last = now
  }
  const timer = setInterval(check, millis / 4)
  unref(timer)
  return { check, stop: () => clearInterval(timer) }
}

/** How many ticks a timeout has, at most. */
const TICKS = 10

/**
 * Calls back after a time in which the event loop was free to receive answers. Node.js runs timers before it reads sockets, so
 * a plain timer that is overdue after the event loop was blocked fires before answers that have already arrived.
 *
 * @returns a function that ends it.
 */
export function startTimeout(callback: () => void, millis: number): () => void {
  const tickMillis = Math.max(1, Math.ceil(millis / TICKS))
  let left = Math.ceil(millis / tickMillis)
  let last: ReturnType<typeof setTimeout> | undefined
  const timer = setInterval(() => {
    if (--left > 0) return
    clearInterval(timer)
    // One more turn of the event loop: it reads sockets between two turns of timers.
    last = unref(setTimeout(callback, 0))
  }, tickMillis)
  unref(timer)
  return () => {
    clearInterval(timer)
    clearTimeout(last)
  }
}
