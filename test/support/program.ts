import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { stripVTControlCharacters } from 'node:util'
import { onTestFinished, vi } from 'vitest'
import { childrenOf, send } from '../servers/postgres/processes.mjs'

/** How a program ended. One of the two is null. */
export interface ProgramEnd {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** A Node program that a test runs without a terminal. Call `stop` at the end of the test, even if it failed. */
export class Program {
  /** Its output so far. */
  stdout = ''
  stderr = ''
  readonly ended: Promise<ProgramEnd>
  readonly #child: ChildProcess
  readonly #seen = new Set<number>()

  constructor(parameters: readonly string[], { cwd, env }: ProgramSurroundings) {
    const child = spawn(process.execPath, parameters, {
      cwd,
      // Nothing of the tests' own environment but the path of programs.
      env: { PATH: process.env['PATH'], CI: 'true', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    child.stdout.setEncoding('utf8').on('data', (text: string) => (this.stdout += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (this.stderr += text))
    this.#child = child
    this.ended = new Promise((resolve, reject) => {
      child.once('error', reject)
      // Not `exit`: its last output can come after that.
      child.once('close', (code, signal) => resolve({ code, signal }))
    })
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** Waits until its output matches a pattern, and returns the match. Throws at once if it ends without one. */
  async untilPrinted(pattern: RegExp): Promise<RegExpExecArray> {
    let end: ProgramEnd | undefined
    void this.ended.then((ended) => (end = ended))
    const match = await vi.waitUntil(() => pattern.exec(this.stdout) ?? end, SLOW_MACHINE)
    if ('code' in match) throw new Error(`ended without ${pattern}: ${this.stdout}${this.stderr}`)
    return match
  }

  /** The ids of the running processes that it has started, directly or through others. */
  family(): number[] {
    const family: number[] = []
    const generations = [this.#child.pid ?? 0]
    for (const parent of generations) {
      const children = childrenOf(parent)
      generations.push(...children)
      family.push(...children)
    }
    for (const pid of family) this.#seen.add(pid)
    return family
  }

  /** Ends it, and the processes that it should have ended itself. */
  async stop(): Promise<void> {
    this.family()
    this.#child.kill('SIGKILL')
    await this.ended
    // Another process may clean up after it. Only a test that fails waits for long.
    const family = [...this.#seen]
    await vi.waitUntil(() => !family.some(isRunning), { timeout: 5_000 }).catch(() => undefined)
    for (const pid of family.filter(isRunning)) send(pid, 'SIGKILL')
  }
}

/** Starts a command in a terminal, that of `script`, until the end of the test. */
export function startInTerminal(command: string, { cwd, env }: ProgramSurroundings) {
  const child = spawn('script', ['--quiet', '--command', command, '/dev/null'], {
    cwd,
    env: { PATH: process.env['PATH'], TERM: 'xterm-256color', ...env },
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const terminal = {
    /** What is on it since the last key. */
    output: '',
    ended: once(child, 'close'),
    /** The output without colors and movements of the cursor. */
    text: () => stripVTControlCharacters(terminal.output).replaceAll('\r', ''),
    press(key: string) {
      terminal.output = ''
      child.stdin.write(key)
    },
  }
  child.stdout.setEncoding('utf8').on('data', (text: string) => (terminal.output += text))
  // Ctrl-C, because a signal to `script` does not reach the command.
  onTestFinished(async () => {
    if (child.exitCode === null) child.stdin.write('\x03')
    await terminal.ended
  })
  return terminal
}

export interface ProgramSurroundings {
  readonly cwd: string
  readonly env?: Readonly<Record<string, string>>
}

/** A timeout for events that take one to three seconds, unless the machine is very busy. */
export const SLOW_MACHINE = { timeout: 60_000, interval: 25 }

/** Whether a process runs. One that has ended and waits for its parent to notice does not. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
  try {
    // The name before the state is in parentheses, and can contain some.
    return !/\) [ZX] [^)]*$/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    // It has ended in the meantime, or there is no /proc, as on macOS.
    return process.platform !== 'linux'
  }
}
