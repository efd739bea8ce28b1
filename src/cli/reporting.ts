import { diag, DiagLogLevel } from '@opentelemetry/api'
import { ReplicationLagMetricProducer } from '../otel/metric-producer.js'
import type { ReplicationLagOptions } from '../otel/options.js'
import { LineDisplay, type Display } from './display.js'
import { prepareExporters } from './exporters.js'
import { LiveDisplay } from './live-display.js'
import { serve, type Handler } from './server.js'
import { variable } from './variables.js'
import type { WatchedSource } from './watched-source.js'

const UPDATE_MILLIS = 1000

/** What to poll, and where to serve the metrics. */
interface Reporting {
  readonly options: ReplicationLagOptions
  readonly port: number
  readonly host: string | undefined
}

/** Polls and reports until a signal ends the process. */
export async function startReporting(
  { options, port, host }: Reporting,
  sources: readonly WatchedSource[],
): Promise<void> {
  const startExporters = prepareExporters()
  const server: { scrape?: Handler | undefined } = {}
  const address = await serve({ port, host }, server, sources)
  const display = createDisplay(sources)
  setLogger(display)
  const producer = new ReplicationLagMetricProducer({ ...options, sources })
  const exporters = startExporters(producer)
  server.scrape = exporters.scrape
  // Before the first line, after which a supervisor may send one.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      // The last export needs what was read, so polling ends with the process.
      void exporters.stop().finally(() => process.exit(0))
    })
  }
  const metrics = server.scrape ? ` Metrics: ${address}/metrics` : ''
  display.start(`Polling ${sources.map(({ name }) => name).join(', ')}.${metrics}`)
  setInterval(() => display.update(producer.gauge.collectMetrics()), UPDATE_MILLIS)
}

function createDisplay(sources: readonly WatchedSource[]): Display {
  const { isTTY, rows } = process.stdout
  // Some terminals, such as those of build servers, have no size. Nothing can be redrawn there.
  const canRedraw = isTTY && rows > 0 && process.env['TERM'] !== 'dumb'
  return canRedraw ? new LiveDisplay(sources) : new LineDisplay()
}

/** Shows what this package and the SDK log. */
function setLogger(display: Display): void {
  const level = variable('OTEL_LOG_LEVEL')?.toUpperCase() ?? 'INFO'
  const at =
    (name: Parameters<Display['log']>[0]) =>
    (...words: unknown[]) =>
      display.log(name, words.map(String).join(' '))
  diag.setLogger(
    {
      error: at('error'),
      warn: at('warn'),
      info: at('info'),
      debug: at('debug'),
      verbose: at('debug'),
    },
    DiagLogLevel[level as keyof typeof DiagLogLevel],
  )
}
