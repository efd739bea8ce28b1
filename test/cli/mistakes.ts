/** What a user got wrong, so that the command cannot start. */
export interface Mistake {
  readonly name: string
  readonly args: readonly string[]
  /** Part of the one line that says what to do. */
  readonly message: string
  readonly env?: Readonly<Record<string, string>>
  /** The contents of the configuration file, if there is one. */
  readonly config?: unknown
}

const PASSWORD = 'hunter2'
/** Any fragment of the password. */
export const SECRET = /hunt|unter|ter2/

const ORDERS = 'orders=postgres://monitor@127.0.0.1:1/postgres'
const source = { name: 'orders', url: 'postgres://monitor@127.0.0.1:1/postgres' }

/** Each is one line, and exit code 2. environment.test.ts has all mistakes in a list of sources and in the file. */
export const MISTAKES: readonly Mistake[] = [
  { name: 'nothing to poll', args: [], message: 'nothing to poll: name a source, as in replica' },
  {
    name: 'no name',
    args: [`postgres://u:${PASSWORD}@db`],
    message: 'argument 1: expected name=url, as in orders=',
  },
  {
    name: 'an unknown scheme',
    args: ['a=mongodb://db'],
    message: 'a: unknown scheme mongodb, expected one of postgres',
  },
  {
    name: 'a password with @ that is not encoded',
    args: ['a=postgres://u:hun@ter2@db/postgres'],
    message: 'a: expected a URL such as postgres://monitor@db/postgres. Encode special characters',
  },
  {
    name: 'one name twice',
    args: ['a=redis://a', 'a=redis://b'],
    message: 'argument 2: expected a name other than a',
  },
  {
    name: 'a misspelled option',
    args: ['--prot', '80', ORDERS],
    message: "Unknown option '--prot'. See replication-lag",
  },
  {
    name: 'an option without a value',
    args: [ORDERS, '--port'],
    message: "Option '--port <value>' argument missing",
  },
  {
    name: 'a port that is not a number',
    args: ['--port', '80a', ORDERS],
    message: '--port: expected a number from 0',
  },
  {
    name: '--max-seconds alone',
    args: ['--max-seconds', '3', ORDERS],
    message: '--max-seconds: use it with --once or',
  },
  { name: 'no seconds', args: ['--once', '--max-seconds', '-1', ORDERS], message: '--max-seconds' },
  {
    name: 'a host that does not exist',
    args: ['--host', 'nowhere.invalid', ORDERS],
    message: 'check --host',
  },
  {
    name: 'a host of another machine',
    args: ['--host', '192.0.2.1', ORDERS],
    message: 'check --host',
  },
  {
    name: 'a misspelled option in the file',
    args: [],
    config: { sources: [source], polIntervalMillis: 100 },
    message: 'unknown property "polIntervalMillis", expected one of pollIntervalMillis,',
  },
  {
    name: 'a file that does not exist',
    args: [],
    env: { REPLICATION_LAG_CONFIG: '/none/lag.json' },
    message: 'REPLICATION_LAG_CONFIG, /none/lag.json: ENOENT',
  },
  {
    name: 'commas in the variable',
    args: [],
    env: { REPLICATION_LAG_SOURCES: `a=redis://b,c=redis://u:${PASSWORD}@d` },
    message: 'entry 1 of REPLICATION_LAG_SOURCES: separate sources with spaces, not with commas',
  },
  {
    name: 'a port of the environment that is not a number',
    args: [ORDERS],
    env: { OTEL_EXPORTER_PROMETHEUS_PORT: '80a' },
    message: 'OTEL_EXPORTER_PROMETHEUS_PORT: expected a number from 0 to 65535, got "80a"',
  },
  {
    name: 'an interval that is not a number',
    args: [ORDERS],
    env: { OTEL_METRIC_EXPORT_INTERVAL: '10s' },
    message: 'OTEL_METRIC_EXPORT_INTERVAL: expected a number from 1 to 2147483647, got "10s"',
  },
  {
    name: 'a timeout that is not a number',
    args: [ORDERS],
    env: { OTEL_METRICS_EXPORTER: 'otlp', OTEL_EXPORTER_OTLP_TIMEOUT: '-1' },
    message: 'OTEL_EXPORTER_OTLP_TIMEOUT: expected a number from 1 to 2147483647, got "-1"',
  },
  {
    name: 'an unknown exporter',
    args: [ORDERS],
    env: { OTEL_METRICS_EXPORTER: 'prometheus, none' },
    message: 'OTEL_METRICS_EXPORTER: expected prometheus, otlp or both, got none',
  },
  {
    name: 'an unknown protocol',
    args: [ORDERS],
    env: { OTEL_METRICS_EXPORTER: 'otlp', OTEL_EXPORTER_OTLP_PROTOCOL: 'http' },
    message: 'OTEL_EXPORTER_OTLP_PROTOCOL: expected one of grpc, http/json, http/protobuf, got',
  },
]
