import { spawn, type ChildProcess } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { vi } from 'vitest'
import { childrenOf, send } from '../../docs/examples/postgres/processes.mjs'

/** How a program ended: one of both is null. */
export interface ProgramEnd {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** A Node program that a test runs, without a terminal. Call `stop` when the test is over, however it went. */
export class Program {
  /** What it printed so far. */
  stdout = ''
  stderr = ''
  readonly ended: Promise<ProgramEnd>
  readonly #child: ChildProcess
  readonly #seen = new Set<number>()

  constructor(parameters: readonly string[], { cwd, env }: ProgramSurroundings) {
    const child = spawn(process.execPath, parameters, {
      cwd,
      // Nothing of the environment that the tests run in, but where programs are.
      env: { PATH: process.env['PATH'], CI: 'true', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    child.stdout.setEncoding('utf8').on('data', (text: string) => (this.stdout += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (this.stderr += text))
    this.#child = child
    this.ended = new Promise((resolve, reject) => {
      child.once('error', reject)
      // Not `exit`: what it printed last may come after that.
      child.once('close', (code, signal) => resolve({ code, signal }))
    })
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** Waits until a pattern is in what it prints to stdout: the match. Fails at once when it ends without. */
  async untilPrinted(pattern: RegExp): Promise<RegExpExecArray> {
    let end: ProgramEnd | undefined
    void this.ended.then((ended) => (end = ended))
    const match = await vi.waitUntil(() => pattern.exec(this.stdout) ?? end, SLOW_MACHINE)
    if ('code' in match) throw new Error(`ended without ${pattern}: ${this.stdout}${this.stderr}`)
    return match
  }

  /** The ids of all processes that it has started, itself or through others, and that run now. */
  async family(): Promise<number[]> {
    const family: number[] = []
    const generations = [this.#child.pid ?? 0]
    for (const parent of generations) {
      const children = await childrenOf(parent)
      generations.push(...children)
      family.push(...children)
    }
    for (const pid of family) this.#seen.add(pid)
    return family
  }

  /** Ends it, and what it should have ended itself. */
  async stop(): Promise<void> {
    await this.family()
    this.#child.kill('SIGKILL')
    await this.ended
    // It may have somebody who cleans up after it; only a test that fails waits for long.
    const family = [...this.#seen]
    await vi.waitUntil(() => !family.some(isRunning), { timeout: 5_000 }).catch(() => undefined)
    for (const pid of family.filter(isRunning)) send(pid, 'SIGKILL')
  }
}

export interface ProgramSurroundings {
  readonly cwd: string
  readonly env?: Readonly<Record<string, string>>
}

/** For what takes a second or three, unless the machine is very busy. */
export const SLOW_MACHINE = { timeout: 60_000, interval: 25 }

/** Whether a process is there, and not just its entry that a parent has yet to read. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
  try {
    // The name before the state is in parentheses, and may hold some.
    return !/\) [ZX] [^)]*$/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    // It went in between; or there is no /proc, as on macOS.
    return process.platform !== 'linux'
  }
}
