import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { freePort } from '../servers/postgres/processes.mjs'
import { cacheFolder, findProgram, run, Servers, type Server } from '../servers/servers.mjs'

/** Where `npm run e2e:install` puts what it builds. */
const cache = cacheFolder('replication-lag-e2e/bin')

async function find(installed: string | undefined, built: string): Promise<string | undefined> {
  const path = join(cache, built)
  return existsSync(path) ? path : installed && findProgram(installed)
}

/** The programs that are installed, by name. */
export const prometheus2 = await find('prometheus', 'prometheus-2')
export const prometheus3 = await find(undefined, 'prometheus-3')
const promtool = await find('promtool', 'promtool-2')
export const collector = await find(undefined, 'collector')
export const victoriaMetrics = await find(undefined, 'victoria-metrics')
export const vmalert = await find(undefined, 'vmalert')

// In CI nothing may be missing.
const all = [prometheus2, prometheus3, promtool, collector, victoriaMetrics, vmalert]
if (process.env['REQUIRE_SERVERS'] && all.includes(undefined)) {
  throw new Error(
    'expected Prometheus 2 and 3, promtool, the Collector and VictoriaMetrics: npm run e2e:install',
  )
}

/** Servers that end with the test. */
export async function createServers(): Promise<Servers> {
  const servers = await Servers.create()
  onTestFinished(() => servers.stop())
  return servers
}

/** The version of a program, for the output of the tests. */
export async function versionOf(program: string): Promise<string> {
  const output = await run(program, ['--version'])
  return output.split('\n')[0] ?? ''
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
    const interval = '1s'
    const config = {
      global: {
        scrape_interval: interval,
        scrape_timeout: interval,
        evaluation_interval: interval,
      },
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
  private server: Server | undefined

  private constructor(
    private readonly servers: Servers,
    private readonly program: string,
    private readonly folder: string,
    readonly grpcUrl: string,
    readonly httpUrl: string,
    /** What it serves to Prometheus. */
    readonly metricsUrl: string,
  ) {}

  /** @param forwardTo the OTLP endpoint that it passes metrics on to. */
  static async start(
    servers: Servers,
    program: string,
    { forwardTo }: { forwardTo?: string } = {},
  ): Promise<Collector> {
    const [grpc, http, metrics] = [await freePort(), await freePort(), await freePort()]
    const folder = await servers.folderOf('collector')
    const noQueue = { sending_queue: { enabled: false }, retry_on_failure: { enabled: false } }
    const exporters = {
      file: { path: join(folder, 'metrics.jsonl'), flush_interval: '100ms' },
      prometheus: { endpoint: `127.0.0.1:${metrics}` },
      ...(forwardTo && { otlp_http: { metrics_endpoint: forwardTo, ...noQueue } }),
    }
    const config = {
      receivers: {
        otlp: {
          protocols: {
            grpc: { endpoint: `127.0.0.1:${grpc}` },
            http: { endpoint: `127.0.0.1:${http}` },
          },
        },
      },
      processors: { batch: { timeout: '100ms' } },
      exporters,
      service: {
        telemetry: { metrics: { level: 'none' } },
        pipelines: {
          metrics: {
            receivers: ['otlp'],
            processors: ['batch'],
            exporters: Object.keys(exporters),
          },
        },
      },
    }
    await writeFile(join(folder, 'config.yaml'), JSON.stringify(config))
    const collector = new Collector(
      servers,
      program,
      folder,
      `http://127.0.0.1:${grpc}`,
      `http://127.0.0.1:${http}/v1/metrics`,
      `http://127.0.0.1:${metrics}/metrics`,
    )
    await collector.restart()
    return collector
  }

  async restart(): Promise<void> {
    const server = await this.servers.start('collector', this.program, ['--config', 'config.yaml'])
    this.server = server
    await this.servers.until('the Collector is ready', async () => {
      if (server.hasExited) throw new Error(server.output)
      return (await fetch(this.metricsUrl)).ok
    })
  }

  async stop(): Promise<void> {
    await this.server?.kill('SIGTERM')
  }

  /** Makes it hang. */
  freeze(): void {
    this.server?.freeze()
  }

  thaw(): void {
    this.server?.thaw()
  }

  /** The batches in its file. */
  async batches(): Promise<unknown[]> {
    const text = await readFile(join(this.folder, 'metrics.jsonl'), 'utf8')
    return text
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as unknown)
  }
}
