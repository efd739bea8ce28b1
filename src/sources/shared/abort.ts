/** Settles as the promise does, or rejects with the reason of the signal once the signal aborts. */
export function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason as Error)
    if (signal.aborted) abort()
    signal.addEventListener('abort', abort)
    const stopListening = () => signal.removeEventListener('abort', abort)
    promise.finally(stopListening).then(resolve, reject)
  })
}
