/** Lets the process end while a timer is pending. Timers of some environments, such as jsdom, are numbers. */
export function unref<Timer>(timer: Timer): Timer {
  ;(timer as { unref?: () => void }).unref?.()
  return timer
}
