import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** Ports that no system gives to outgoing connections. One of those could take the port of a server that is down for a moment. */
const [FIRST_PORT, PORTS] = [15_000, 17_000]

/** @returns {Promise<number>} a port without a listener */
export async function freePort() {
  for (;;) {
    const port = FIRST_PORT + Math.floor(Math.random() * PORTS)
    if (await isFree(port)) return port
  }
}

/** @param {number} port @returns {Promise<boolean>} */
function isFree(port) {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}

/** @param {number} parent a process id @returns {number[]} the ids of its children */
export function childrenOf(parent) {
  try {
    const children = readFileSync(`/proc/${parent}/task/${parent}/children`, 'utf8')
    return children.split(' ').filter(Boolean).map(Number)
  } catch {
    // macOS has no such file, and some kernels neither.
    const stdout = execFileSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' })
    const pairs = stdout.split('\n').map((line) => line.trim().split(/\s+/).map(Number))
    return pairs.flatMap(([pid, ppid]) => (pid && ppid === parent ? [pid] : []))
  }
}

/** Sends a signal to a process that may be gone. @param {number} pid @param {NodeJS.Signals} signal */
export function send(pid, signal) {
  try {
    process.kill(pid, signal)
  } catch {
    // Gone since it was looked up.
  }
}

/**
 * The servers do not keep this process alive, so waiting for one must.
 *
 * @template T
 * @param {Promise<T>} promise
 */
export async function keepAlive(promise) {
  const timer = setInterval(() => undefined, 1_000)
  try {
    return await promise
  } finally {
    clearInterval(timer)
  }
}

/** The last lines of a log. @param {string} file @param {number} start where to begin, in bytes */
export function tail(file, start) {
  const lines = readFileSync(file).subarray(start).toString().trimEnd().split('\n')
  return lines.slice(-15).join('\n')
}

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
