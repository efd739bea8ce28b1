import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { freePort } from '../../../test/servers/postgres/processes.mjs'
import { findProgram } from '../../../test/servers/servers.mjs'

/**
 * Starts a Prometheus that scrapes a service each second, and returns its address.
 *
 * @param {import('../../../test/servers/servers.mjs').Servers} servers stops it
 * @param {string} target the address of the metrics
 */
export async function startPrometheus(servers, target) {
  const program = await findProgram('prometheus')
  if (program === undefined) throw new Error('expected Prometheus: apt-get install prometheus')
  const port = await freePort()
  const config = {
    global: { scrape_interval: '1s', scrape_timeout: '1s' },
    scrape_configs: [{ job_name: 'orders', static_configs: [{ targets: [new URL(target).host] }] }],
  }
  // JSON is YAML.
  await writeFile(
    join(await servers.folderOf('prometheus'), 'prometheus.yml'),
    JSON.stringify(config),
  )
  const server = await servers.start('prometheus', program, [
    '--config.file=prometheus.yml',
    '--storage.tsdb.path=data',
    `--web.listen-address=127.0.0.1:${port}`,
  ])
  const url = `http://127.0.0.1:${port}`
  await servers.until('Prometheus is ready', async () => {
    if (server.hasExited) throw new Error(server.output)
    return (await fetch(`${url}/-/ready`)).ok
  })
  return url
}
