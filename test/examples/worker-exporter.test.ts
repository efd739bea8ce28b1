import { mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { freePort } from '../../docs/examples/postgres/processes.mjs'
import { buildPackage } from '../support/built-package.js'
import { eventually } from '../support/eventually.js'
import { Program } from '../support/program.js'
import { parsePrometheusText } from '../support/prometheus.js'

test('a worker serves what the main thread stores', async () => {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'replication-lag-worker-')))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  await buildPackage(folder)
  const program = new Program(['docs/examples/worker-exporter/main.mjs'], {
    cwd: folder,
    env: { PORT: String(await freePort()) },
  })
  onTestFinished(() => program.stop())
  const [, url = ''] = await program.untilPrinted(/^Metrics: (http:\S+)\n/m)

  await eventually(async () => {
    const { find } = parsePrometheusText(await (await fetch(url)).text())
    const lags = find('replication_lag_seqno', { shard: 'orders' })
    const byReplica = new Map(lags.map(({ labels, value }) => [labels['replica'], value]))
    // Read while the main thread stores, so one more or less.
    expect([0, 1]).toContain(byReplica.get('prompt'))
    expect([4, 5, 6]).toContain(byReplica.get('five-behind'))
    expect(byReplica.size).toBe(2)
  })
  expect(program.stderr).toBe('')
})
