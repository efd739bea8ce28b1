import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { MessageChannel, Worker, type MessagePort } from 'node:worker_threads'
import type { BuiltPackage } from './built-package.js'
import type { commands } from './gauge-worker.mjs'

type Commands = typeof commands

const program = fileURLToPath(new URL('gauge-worker.mjs', import.meta.url))

/** A worker thread with a gauge of its own. It uses the compiled package, because workers cannot load TypeScript. */
export class GaugeWorker {
  /** This thread's end of the channel that the worker publishes or subscribes at. */
  readonly port: MessagePort
  /** Resolves with the exit code. Rejects if the worker fails. */
  readonly ended: Promise<number>
  private readonly worker: Worker
  private readonly pending = new Map<number, (result: unknown) => void>()
  private calls = 0

  constructor({ implementation }: BuiltPackage) {
    const { port1, port2 } = new MessageChannel()
    this.port = port1
    this.worker = new Worker(program, {
      workerData: { implementation, port: port2 },
      transferList: [port2],
    })
    this.worker.on('message', ([id, result]: [number, unknown]) => this.pending.get(id)?.(result))
    this.ended = once(this.worker, 'exit').then(([code]) => code as number)
    this.ended.catch(() => undefined)
  }

  /** Runs a command in the worker and returns its result. */
  call<Name extends keyof Commands>(
    name: Name,
    ...parameters: Parameters<Commands[Name]>
  ): Promise<ReturnType<Commands[Name]>> {
    const id = ++this.calls
    const result = new Promise((resolve) => this.pending.set(id, resolve))
    this.worker.postMessage([id, name, ...parameters])
    const failed = this.ended.then((code) => {
      throw new Error(`the worker has ended with ${code}`)
    })
    return Promise.race([result as Promise<ReturnType<Commands[Name]>>, failed])
  }

  async terminate(): Promise<void> {
    await this.worker.terminate()
  }
}
