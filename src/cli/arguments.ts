import { parseArgs } from 'node:util'
import { parseEntries, readConfiguration } from '../environment/configuration.js'
import { createOptions } from '../environment/options.js'
import type { ReplicationLagOptions } from '../otel/options.js'
import { VERSION } from '../otel/version.js'
import { readNumber, variable } from './variables.js'

const USAGE = `Usage: replication-lag [options] [name=url ...]

Reports how far every replica is behind its leader: here, and to Prometheus at /metrics.

  replication-lag orders=postgres://monitor:secret@db.example/postgres

Without name=url it polls what REPLICATION_LAG_SOURCES or REPLICATION_LAG_CONFIG names.

  --port NUMBER         of /metrics and /health, 9464 by default
  --host ADDRESS        to listen on, all by default
  --once                print a table and exit
  --json                print JSON and exit
  --max-seconds NUMBER  with --once or --json: how far behind a replica may be
  --version             print the version and exit
  --help                print this and exit

It exits with 0, with --once or --json with 1 if a source cannot be read or a replica is not
connected or too far behind, and with 2 if it cannot start.
`

const PORT = 'OTEL_EXPORTER_PROMETHEUS_PORT'

/** What the command has to do. */
export type Command =
  | { readonly do: 'print'; readonly text: string }
  | {
      readonly do: 'once'
      readonly options: ReplicationLagOptions
      readonly format: 'table' | 'json'
      readonly maxSeconds: number | undefined
    }
  | {
      readonly do: 'serve'
      readonly options: ReplicationLagOptions
      readonly port: number
      readonly host: string | undefined
    }

/**
 * Parses the arguments of the command.
 *
 * @throws Error that says on one line what is wrong. It contains no password.
 */
export function parseArguments(args: readonly string[]): Command {
  const { values, positionals } = parse(args)
  if (values.help) return { do: 'print', text: USAGE }
  if (values.version) return { do: 'print', text: `${VERSION}\n` }
  const isOnce = values.once === true || values.json === true
  const { port, host } = values
  if (values['max-seconds'] !== undefined && !isOnce) {
    throw new Error('--max-seconds: use it with --once or --json')
  }
  const maxSeconds = readNumber('--max-seconds', values['max-seconds'], 0, 86_400)
  const parsedPort =
    readNumber('--port', port, 0, 65_535) ?? readNumber(PORT, variable(PORT), 0, 65_535) ?? 9464
  const options = readOptions(positionals)
  if (isOnce) {
    return { do: 'once', options, format: values.json === true ? 'json' : 'table', maxSeconds }
  }
  const address = host ?? variable('OTEL_EXPORTER_PROMETHEUS_HOST')
  return { do: 'serve', options, port: parsedPort, host: address }
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        port: { type: 'string' },
        host: { type: 'string' },
        once: { type: 'boolean' },
        json: { type: 'boolean' },
        'max-seconds': { type: 'string' },
        version: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    })
  } catch (error) {
    const [sentence = ''] = (error as Error).message.split(/[.\n]/)
    throw new Error(`${sentence}. See replication-lag --help`, { cause: error })
  }
}

function readOptions(positionals: readonly string[]): ReplicationLagOptions {
  const configuration =
    positionals.length > 0
      ? { sources: parseEntries(positionals, (number) => `argument ${number}`), options: {} }
      : readConfiguration(process.env)
  if (configuration) return createOptions(configuration)
  throw new Error(
    'nothing to poll: name a source, as in replication-lag orders=postgres://monitor@db/postgres, or set REPLICATION_LAG_SOURCES',
  )
}
