import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { copyFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { useBuiltPackage } from '../support/built-package.js'
import { eventually } from '../support/eventually.js'
import { parsePrometheusText } from '../support/prometheus.js'
import { repository } from '../support/repository.js'
import { createServers, Prometheus, prometheus2 } from './backends.js'

const built = await useBuiltPackage()

beforeAll(async () => {
  await copyFile(
    fileURLToPath(new URL('node.mjs', import.meta.url)),
    join(built.folder, 'node.mjs'),
  )
})

/** A process that exports its own side, see `node.mjs`. */
class NodeProcess {
  private constructor(
    private readonly child: ChildProcess,
    readonly url: string,
  ) {}

  static async start(): Promise<NodeProcess> {
    const child = fork(join(built.folder, 'node.mjs'), { cwd: built.folder, execArgv: [] })
    onTestFinished(() => void child.kill('SIGKILL'))
    const [{ port }] = (await once(child, 'message')) as [{ port: number }]
    return new NodeProcess(child, `http://127.0.0.1:${port}/metrics`)
  }

  async store(message: object): Promise<void> {
    this.child.send(message)
    await once(this.child, 'message')
  }

  kill(): void {
    this.child.kill('SIGKILL')
  }
}

describe.skipIf(!prometheus2)('leader and followers in processes of their own', () => {
  it('are joined by the recording rule, also with several instances and after a change of leader', async () => {
    const [first, second, third] = [
      await NodeProcess.start(),
      await NodeProcess.start(),
      await NodeProcess.start(),
    ]
    const prometheus = await Prometheus.start(await createServers(), prometheus2 ?? '', {
      targets: { nodes: [first.url, second.url, third.url] },
      rules: [join(repository, 'docs/monitoring/rules.yml')],
    })
    const expectLags = (expected: Record<string, number>) =>
      eventually(async () => {
        const samples = await prometheus.query('replication:lag_seqno{shard="orders"}')
        const lags = samples.map(({ labels, value }) => [labels['replica'] ?? '', value] as const)
        expect(Object.fromEntries(lags)).toEqual(expected)
        expect(samples).toHaveLength(Object.keys(expected).length)
      })

    await first.store({ leader: { orders: 100 } })
    await second.store({ applied: { orders: { second: 60 } } })
    await third.store({ applied: { orders: { third: 100 } } })
    await expectLags({ second: 40, third: 0 })

    // Another process also knows where the leader was a while ago.
    await second.store({ leader: { orders: 90 } })
    await second.store({ applied: { orders: { second: 70 } } })
    await expectLags({ second: 30, third: 0 })

    // The third becomes the leader.
    first.kill()
    await third.store({ remove: ['orders'] })
    await third.store({ leader: { orders: 120 } })
    await expectLags({ second: 50 })
  })

  it('are joined when 20 processes have 5,000 followers each', async () => {
    const [processes, followers] = [20, 5000]
    const shards = Array.from({ length: followers }, (_, shard) => `shard-${shard}`)
    const leader = await NodeProcess.start()
    await leader.store({ leader: Object.fromEntries(shards.map((shard) => [shard, 100])) })
    const urls = [leader.url]
    for (let replica = 0; replica < processes; replica++) {
      const node = await NodeProcess.start()
      const applied = shards.map((shard) => [shard, { [`replica-${replica}`]: replica }])
      await node.store({ applied: Object.fromEntries(applied) as object })
      urls.push(node.url)
    }
    const prometheus = await Prometheus.start(await createServers(), prometheus2 ?? '', {
      targets: { nodes: urls },
      rules: [join(repository, 'docs/monitoring/rules.yml')],
      intervalSeconds: 15,
    })
    const value = async (expression: string) => (await prometheus.query(expression))[0]?.value
    await vi.waitFor(
      async () => {
        const all = processes * followers
        expect(await value('count(replication:lag_seqno)')).toBe(all)
        expect(await value('sum(replication:lag_seqno)')).toBe(followers * (2000 - 190))
      },
      { timeout: 110_000, interval: 1000 },
    )
    const { value: measure, find } = parsePrometheusText(
      await (await fetch(`${prometheus.url}/metrics`)).text(),
    )
    const durations = find('prometheus_rule_group_last_duration_seconds')
    const rules = durations.map(({ labels, value }) => `${labels['rule_group']}: ${value} s`)
    const memory = measure('process_resident_memory_bytes', {})
    // docs/deployment.md has these figures.
    console.info(rules, `memory of Prometheus: ${Math.round(Number(memory) / 1e6)} MB`)
  })
})
