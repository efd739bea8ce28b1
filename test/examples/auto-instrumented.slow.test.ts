import { describe, expect, onTestFinished, test } from 'vitest'
import { startProgram } from '../docs/pages.js'
import { useBuiltPackage } from '../support/built-package.js'
import { eventually } from '../support/eventually.js'
import { listen } from '../support/http.js'
import { startCluster } from '../support/postgres.js'

const EXAMPLE = './docs/examples/auto-instrumented'
const PG = '@opentelemetry/instrumentation-pg'
const { cluster, primary } = await startCluster()
const built = await useBuiltPackage()

/** Starts the service, which prints its traces. */
async function start(parameters: string[], variables: Record<string, string> = {}) {
  const { host, user, database } = primary.connectionConfig()
  const service = await startProgram(built.folder, `import '${EXAMPLE}/service.mjs'`, {
    parameters,
    env: {
      PGHOST: host,
      PGPORT: String(primary.port),
      PGUSER: user,
      PGDATABASE: database,
      OTEL_EXPORTER_PROMETHEUS_HOST: '127.0.0.1',
      OTEL_TRACES_EXPORTER: 'console',
      OTEL_LOGS_EXPORTER: 'none',
      OTEL_NODE_RESOURCE_DETECTORS: 'env',
      ...variables,
    },
  })
  await service.program.untilPrinted(/^http:\S+$/m)
  return service
}

describe('a service with auto-instrumentation', { timeout: 120_000 }, () => {
  test.each([
    ['by otel.mjs', [`--import=${EXAMPLE}/otel.mjs`]],
    [
      'without code',
      [
        '--import=@opentelemetry/auto-instrumentations-node/register',
        '--import=opentelemetry-instrumentation-replication-lag/register',
      ],
    ],
  ])('keeps its own telemetry and reports its followers %s', async (way, parameters) => {
    const replica = way.replaceAll(/\W/g, '_')
    await cluster.startStandby({ name: replica, of: primary })
    const { program, scrape, url } = await start(parameters, {
      ...(way === 'without code' && {
        OTEL_METRICS_EXPORTER: 'prometheus',
        REPLICATION_LAG_SOURCES: `orders=${primary.url()}`,
      }),
    })
    const reads = new Set<number>()
    const untilRead = (times: number) =>
      eventually(async () => {
        const { value } = await scrape()
        const read = value('replication_source_last_success_timestamp_seconds')
        if (read !== undefined) reads.add(read)
        expect(reads.size).toBeGreaterThanOrEqual(times)
      })
    // Its request is between two polls.
    await untilRead(1)
    expect(await (await fetch(`${url}/time`)).json()).toHaveProperty('time')
    await untilRead(2)
    const metrics = await scrape()
    program.kill('SIGTERM')
    expect(await program.ended).toEqual({ code: 0, signal: null })

    const spans = program.stdout.split(/^\{$/m).filter((text) => text.includes('traceId:'))
    const traceOf = (span: string) => /traceId: '(\w+)'/.exec(span)?.[1]
    const request = spans.find((span) => /'(?:http\.target|url\.path)': '\/time'/.test(span)) ?? ''
    expect(request).not.toBe('')
    const pgSpans = spans.filter((span) => span.includes(`name: '${PG}'`))
    expect(pgSpans.join()).toContain("'select now() as time'")
    // A poll would be a trace of its own.
    expect(pgSpans.filter((span) => traceOf(span) !== traceOf(request))).toEqual([])
    const select = { db_operation_name: 'SELECT', otel_scope_name: PG }
    expect(metrics.value('db_client_operation_duration_count', select)).toBe(1)
    expect(metrics.value('replication_lag_seqno', { shard: 'orders', replica })).toBe(0)
  })

  test('runs on without metrics if their port is taken, and says so in one line', async () => {
    const other = await listen(() => undefined)
    onTestFinished(() => other.close())
    const { port } = new URL(other.url)
    const { program, url } = await start([`--import=${EXAMPLE}/otel.mjs`], {
      OTEL_EXPORTER_PROMETHEUS_PORT: port,
    })
    expect((await fetch(`${url}/time`)).status).toBe(200)
    expect(program.stderr).toBe(
      `there is no /metrics: listen EADDRINUSE: address already in use 127.0.0.1:${port}\n`,
    )
  })
})
