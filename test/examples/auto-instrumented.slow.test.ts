import { json } from 'node:stream/consumers'
import { describe, expect, onTestFinished, test } from 'vitest'
import { freePort } from '../servers/postgres/processes.mjs'
import { useBuiltPackage } from '../support/built-package.js'
import { eventually } from '../support/eventually.js'
import { listen } from '../support/http.js'
import { startCluster } from '../support/postgres.js'
import { Program } from '../support/program.js'
import { parsePrometheusText, type Exposition } from '../support/prometheus.js'

const EXAMPLE = 'docs/examples/auto-instrumented'
const { cluster, primary } = await startCluster()

const built = await useBuiltPackage()

interface Attribute {
  readonly key: string
  readonly value: { readonly stringValue?: string }
}

interface Span {
  readonly traceId: string
  readonly name: string
  readonly attributes: readonly Attribute[]
  readonly scope: string
}

/** What an OTLP exporter of traces sends as JSON. */
interface TracesRequest {
  readonly resourceSpans: readonly {
    readonly scopeSpans: readonly {
      readonly scope: { readonly name: string }
      readonly spans: readonly Omit<Span, 'scope'>[]
    }[]
  }[]
}

async function startTracesReceiver() {
  const spans: Span[] = []
  const server = await listen((request, response) => {
    void json(request).then((body) => {
      const { resourceSpans } = body as TracesRequest
      for (const { scope, spans: some } of resourceSpans.flatMap(({ scopeSpans }) => scopeSpans)) {
        spans.push(...some.map((span) => ({ ...span, scope: scope.name })))
      }
      response.setHeader('content-type', 'application/json').end('{}')
    })
  })
  onTestFinished(() => server.close())
  return { url: server.url, spans }
}

async function start(parameters: string[], variables: Record<string, string> = {}) {
  const receiver = await startTracesReceiver()
  const port = await freePort()
  const { host, user, database } = primary.connectionConfig()
  const program = new Program([...parameters, `${EXAMPLE}/service.mjs`], {
    cwd: built.folder,
    env: {
      PORT: '0',
      PGHOST: host,
      PGPORT: String(primary.port),
      PGUSER: user,
      PGDATABASE: database,
      OTEL_EXPORTER_PROMETHEUS_HOST: '127.0.0.1',
      OTEL_EXPORTER_PROMETHEUS_PORT: String(port),
      OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: receiver.url,
      OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'http/json',
      OTEL_BSP_SCHEDULE_DELAY: '100',
      OTEL_LOGS_EXPORTER: 'none',
      OTEL_NODE_RESOURCE_DETECTORS: 'env',
      ...variables,
    },
  })
  onTestFinished(() => program.stop())
  const [, url = ''] = await program.untilPrinted(/^(http:\S+)$/m)
  return {
    program,
    spans: receiver.spans,
    url,
    scrape: async () => {
      const response = await fetch(`http://127.0.0.1:${port}/metrics`)
      return parsePrometheusText(await response.text())
    },
  }
}

/** Waits until the source was read this often. */
async function untilPolled(scrape: () => Promise<Exposition>, times: number) {
  const reads = new Set<number>()
  await eventually(async () => {
    const read = (await scrape()).value('replication_source_last_success_timestamp_seconds')
    if (read !== undefined) reads.add(read)
    expect(reads.size).toBeGreaterThanOrEqual(times)
  })
}

/** Calls the service between two polls. Returns what was reported when it has ended. */
async function observe({ program, spans, url, scrape }: Awaited<ReturnType<typeof start>>) {
  await untilPolled(scrape, 1)
  const response = await fetch(`${url}/time`)
  expect(await response.json()).toHaveProperty('time')
  await untilPolled(scrape, 2)
  const metrics = await scrape()
  program.kill('SIGTERM')
  expect(await program.ended).toEqual({ code: 0, signal: null })
  const request = spans.find((span) => attributeOf(span, 'http.target', 'url.path') === '/time')
  return { metrics, request, pgSpans: spans.filter(({ scope }) => scope === PG) }
}

const PG = '@opentelemetry/instrumentation-pg'

function attributeOf({ attributes }: Span, ...keys: string[]) {
  return attributes.find(({ key }) => keys.includes(key))?.value.stringValue
}

const SELECT = { db_operation_name: 'SELECT', otel_scope_name: PG }

describe('a service with auto-instrumentation', { timeout: 120_000 }, () => {
  async function reportsBoth(service: Awaited<ReturnType<typeof start>>, replica: string) {
    const { metrics, request, pgSpans } = await observe(service)
    expect(request).toBeDefined()
    const queries = pgSpans.map((span) => attributeOf(span, 'db.statement', 'db.query.text'))
    expect(queries).toContain('select now() as time')
    // A poll would be a trace of its own.
    expect(pgSpans.filter(({ traceId }) => traceId !== request?.traceId)).toEqual([])
    expect(metrics.value('db_client_operation_duration_count', SELECT)).toBe(1)
    expect(metrics.value('replication_lag_seqno', { shard: 'orders', replica })).toBe(0)
  }

  test('keeps its own telemetry and reports its followers by otel.mjs', async () => {
    await cluster.startStandby({ name: 'standby_1', of: primary })
    await reportsBoth(await start([`--import=./${EXAMPLE}/otel.mjs`]), 'standby_1')
  })

  test('keeps its own telemetry and reports its followers without code', async () => {
    await cluster.startStandby({ name: 'standby_2', of: primary })
    const imports = [
      '--import=@opentelemetry/auto-instrumentations-node/register',
      '--import=opentelemetry-instrumentation-replication-lag/register',
    ]
    const service = await start(imports, {
      OTEL_METRICS_EXPORTER: 'prometheus',
      REPLICATION_LAG_SOURCES: `orders=${primary.url()}`,
    })
    await reportsBoth(service, 'standby_2')
  })

  test('runs on without metrics if their port is taken, and says so in one line', async () => {
    const other = await listen(() => undefined)
    onTestFinished(() => other.close())
    const { port } = new URL(other.url)
    const { program, url } = await start([`--import=./${EXAMPLE}/otel.mjs`], {
      OTEL_EXPORTER_PROMETHEUS_PORT: port,
    })
    expect((await fetch(`${url}/time`)).status).toBe(200)
    expect(program.stderr).toBe(
      `there is no /metrics: listen EADDRINUSE: address already in use 127.0.0.1:${port}\n`,
    )
  })
})
