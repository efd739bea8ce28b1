import { once } from 'node:events'
import { mkdtemp, realpath, rm, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { buildPackage } from '../support/built-package.js'
import { Program } from '../support/program.js'
import { parsePrometheusText, type Exposition } from '../support/prometheus.js'
import { eventually } from '../support/eventually.js'
import { readText } from '../support/repository.js'
import { isProgram } from './code-blocks.js'
import { findBlocks } from './markdown.js'

test('the shortest program of the README serves the metric that is shown below it', async () => {
  const blocks = findBlocks({ path: 'README.md', text: readText('README.md') })
  const program = blocks.find(isProgram)
  const [sample = ''] = blocks.flatMap(
    ({ text }) => /^replication_lag_seqno\{.*$/m.exec(text) ?? [],
  )
  const [, labels = '', shown] = /^\w+\{(shard="\w+"),.*\} (\d+)$/.exec(sample) ?? []

  const folder = await realpath(await mkdtemp(join(tmpdir(), 'replication-lag-readme-')))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  await buildPackage(folder)
  await writeFile(join(folder, 'program.mjs'), program?.text ?? '')
  const port = await freePort()
  const running = new Program(['program.mjs'], {
    cwd: folder,
    env: { OTEL_EXPORTER_PROMETHEUS_PORT: String(port), OTEL_TRACES_EXPORTER: 'none' },
  })
  onTestFinished(() => running.stop())

  const [, name = '', value = ''] = /(\w+)="(\w+)"/.exec(labels) ?? []
  await eventually(async () => {
    const exposition = await scrape(port)
    expect(exposition.value('replication_lag_seqno', { [name]: value })).toBe(Number(shown))
  })
})

async function scrape(port: number): Promise<Exposition> {
  const response = await fetch(`http://127.0.0.1:${port}/metrics`)
  return parsePrometheusText(await response.text())
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  return port
}
