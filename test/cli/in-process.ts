import { diag } from '@opentelemetry/api'
import { onTestFinished, vi } from 'vitest'

/** The command, as it runs in this process. */
export interface RunningCommand {
  stdout: string
  stderr: string
  /** Resolves with the exit code. */
  readonly ended: Promise<number>
}

/** Runs the command in this process until the end of the test, so that its coverage counts. One at a time. */
export function runCommand(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): RunningCommand {
  let end: (code: number) => void = () => undefined
  const command = {
    stdout: '',
    stderr: '',
    ended: new Promise<number>((resolve) => (end = resolve)),
  }
  vi.resetModules()
  for (const name of ['REPLICATION_LAG_SOURCES', 'REPLICATION_LAG_CONFIG'])
    vi.stubEnv(name, undefined)
  for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value)
  const { argv } = process
  process.argv = ['node', 'replication-lag', ...args]
  const capture = (stream: 'stdout' | 'stderr') =>
    vi.spyOn(process[stream], 'write').mockImplementation((text, done?: unknown) => {
      command[stream] += String(text)
      if (typeof done === 'function') queueMicrotask(done as () => void)
      return true
    })
  const spies = [
    capture('stdout'),
    capture('stderr'),
    vi.spyOn(process, 'exit').mockImplementation((code) => {
      end(Number(code ?? 0))
      return undefined as never
    }),
  ]
  const timers: ReturnType<typeof setInterval>[] = []
  const { setInterval } = globalThis
  spies.push(
    vi.spyOn(globalThis, 'setInterval').mockImplementation((...parameters: [() => void]) => {
      const timer = setInterval(...parameters)
      timers.push(timer)
      return timer
    }) as never,
  )
  onTestFinished(() => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.removeAllListeners(signal)
    for (const timer of timers) clearInterval(timer)
    for (const spy of spies) spy.mockRestore()
    process.stdout.removeAllListeners('error')
    process.argv = argv
    vi.unstubAllEnvs()
    diag.disable()
  })
  void import('../../src/cli/index.js')
  return command
}
