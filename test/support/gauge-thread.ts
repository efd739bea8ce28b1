import { once } from 'node:events'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import type { SharedReplicationLagGauge } from 'opentelemetry-instrumentation-replication-lag'
import type { commands } from '../threads/gauge.mjs'

type Commands = typeof commands

/** A worker thread that has attached a shared gauge. */
export class GaugeThread {
  readonly #worker: Worker
  readonly #pending = new Map<number, (result: unknown) => void>()
  #lastId = 0
  /** What it failed with, for the calls that wait and those to come. */
  readonly #failed: Promise<never>

  /** @param folder what {@link buildThreads} has made. */
  constructor(folder: string, shared: SharedReplicationLagGauge) {
    this.#worker = new Worker(join(folder, 'test/threads/gauge.mjs'), { workerData: shared })
    this.#worker.on('message', ([id, result]: [number, unknown]) => {
      this.#pending.get(id)?.(result)
      this.#pending.delete(id)
    })
    this.#failed = once(this.#worker, 'error').then(([error]) => {
      throw error
    })
    this.#failed.catch(() => undefined)
  }

  /** Lets the thread do something: what that returned. */
  call<Name extends keyof Commands>(
    name: Name,
    ...parameters: Parameters<Commands[Name]>
  ): Promise<ReturnType<Commands[Name]>> {
    const id = ++this.#lastId
    const result = new Promise((resolve) => this.#pending.set(id, resolve))
    this.#worker.postMessage([id, name, ...parameters])
    return Promise.race([result as Promise<ReturnType<Commands[Name]>>, this.#failed])
  }

  /** Ends it, wherever it is. */
  async terminate(): Promise<void> {
    await this.#worker.terminate()
  }
}
