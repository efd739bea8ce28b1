import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { freePort } from '../servers/postgres/processes.mjs'
import { cacheFolder, findProgram, Servers, type Server } from '../servers/servers.mjs'

/** Where `npm run e2e:install` puts what it builds. */
const cache = cacheFolder('replication-lag-e2e/bin')

async function find(installed: string | undefined, built: string): Promise<string | undefined> {
  const path = join(cache, built)
  return existsSync(path) ? path : installed && findProgram(installed)
}

/** The programs that are installed, by name. */
export const prometheus2 = await find('prometheus', 'prometheus-2')
export const prometheus3 = await find(undefined, 'prometheus-3')
export const promtool = await find('promtool', 'promtool-2')
export const collector = await find(undefined, 'collector')
export const vmalertTool = await find(undefined, 'vmalert-tool')

// In CI nothing may be missing.
const all = { prometheus2, prometheus3, promtool, collector, vmalertTool }
if (process.env['REQUIRE_SERVERS'] && Object.values(all).includes(undefined)) {
  throw new Error(`expected ${Object.keys(all).join(', ')}: npm run e2e:install`)
}

/** Servers that end with the test. */
export async function createServers(): Promise<Servers> {
  const servers = await Servers.create()
  onTestFinished(() => servers.stop())
  return servers
}

/** A series, and its value now. */
export interface Sample {
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

export interface PrometheusOptions {
  /** What it scrapes, by name of the job. */
  readonly targets?: Readonly<Record<string, readonly string[]>>
  /** Files with rules. */
  readonly rules?: readonly string[]
  /** Whether it receives OTLP, which needs version 3. */
  readonly otlp?: boolean
}

/** A Prometheus server. */
export class Prometheus {
  private constructor(
    readonly url: string,
    readonly server: Server,
  ) {}

  static async start(
    servers: Servers,
    program: string,
    { targets = {}, rules = [], otlp = false }: PrometheusOptions,
  ): Promise<Prometheus> {
    const port = await freePort()
    const name = `prometheus-${port}`
    const folder = await servers.folderOf(name)
    const jobs = Object.entries(targets).map(([job_name, urls]) => ({
      job_name,
      static_configs: [{ targets: urls.map((url) => new URL(url).host) }],
    }))
    const config = {
      global: { scrape_interval: '1s', scrape_timeout: '1s', evaluation_interval: '1s' },
      rule_files: rules,
      scrape_configs: jobs,
    }
    // JSON is YAML.
    await writeFile(join(folder, 'prometheus.yml'), JSON.stringify(config))
    const server = await servers.start(name, program, [
      '--config.file=prometheus.yml',
      '--storage.tsdb.path=data',
      `--web.listen-address=127.0.0.1:${port}`,
      ...(otlp ? ['--web.enable-otlp-receiver'] : []),
    ])
    const prometheus = new Prometheus(`http://127.0.0.1:${port}`, server)
    await servers.until('Prometheus is ready', async () => {
      if (server.hasExited) throw new Error(server.output)
      return (await fetch(`${prometheus.url}/-/ready`)).ok
    })
    return prometheus
  }

  /** The samples that an expression has now. */
  async query(expression: string): Promise<Sample[]> {
    const { result } = (await this.get('query', { query: expression })) as {
      result: { metric: Record<string, string>; value: [number, string] }[]
    }
    return result.map(({ metric, value: [, value] }) => ({ labels: metric, value: Number(value) }))
  }

  /** The alerts that are firing now. */
  async firing(): Promise<Record<string, string>[]> {
    const { alerts } = (await this.get('alerts', {})) as {
      alerts: { labels: Record<string, string>; state: string }[]
    }
    return alerts.filter(({ state }) => state === 'firing').map(({ labels }) => labels)
  }

  private async get(path: string, parameters: Record<string, string>): Promise<unknown> {
    const response = await fetch(`${this.url}/api/v1/${path}`, {
      method: 'POST',
      body: new URLSearchParams(parameters),
    }).then(async (answer) => (answer.status === 405 ? fetch(answer.url) : answer))
    const body = (await response.json()) as { status: string; error?: string; data: unknown }
    if (body.status !== 'success') throw new Error(`Prometheus: ${body.error}`)
    return body.data
  }
}

/** An OpenTelemetry Collector. Its ports stay the same over a restart. */
export class Collector {
  /** The process that runs now. */
  declare process: Server

  private constructor(
    private readonly servers: Servers,
    readonly grpcUrl: string,
    readonly httpUrl: string,
    /** What it serves to Prometheus. */
    readonly metricsUrl: string,
  ) {}

  static async start(): Promise<Collector> {
    const servers = await createServers()
    const [grpc, http, metrics] = [await freePort(), await freePort(), await freePort()].map(
      (port) => `127.0.0.1:${port}`,
    )
    const config = {
      receivers: { otlp: { protocols: { grpc: { endpoint: grpc }, http: { endpoint: http } } } },
      processors: { batch: { timeout: '100ms' } },
      exporters: { prometheus: { endpoint: metrics } },
      service: {
        telemetry: { metrics: { level: 'none' } },
        pipelines: {
          metrics: { receivers: ['otlp'], processors: ['batch'], exporters: ['prometheus'] },
        },
      },
    }
    const folder = await servers.folderOf('collector')
    await writeFile(join(folder, 'config.yaml'), JSON.stringify(config))
    const urls = [`http://${grpc}`, `http://${http}/v1/metrics`, `http://${metrics}/metrics`]
    const started = new Collector(servers, ...(urls as [string, string, string]))
    await started.restart()
    return started
  }

  async restart(): Promise<void> {
    const parameters = ['--config', 'config.yaml']
    const server = await this.servers.start('collector', collector ?? '', parameters)
    this.process = server
    await this.servers.until('the Collector is ready', async () => {
      if (server.hasExited) throw new Error(server.output)
      return (await fetch(this.metricsUrl)).ok
    })
  }
}
