/** One source, as the environment or the configuration file describes it. */
export interface SourceUrl {
  /** Where it is described, for errors: `entry 2 of REPLICATION_LAG_SOURCES`. */
  readonly where: string
  readonly name: string
  readonly scheme: string
  readonly user: string | undefined
  readonly password: string | undefined
  readonly hosts: readonly Host[]
  /** What comes after the hosts, such as a database, with its slash. */
  readonly path: string
  readonly parameters: URLSearchParams
}

export interface Host {
  /** `host` or `host:port`, as it is written in the URL. */
  readonly address: string
  readonly host: string
  readonly port: number | undefined
}

const EXPECTED_URL =
  'expected a URL such as postgres://monitor@db/postgres. Encode special characters of a password, as in %40 for @'
const EXPECTED_HOST = 'expected host or host:port, with a port from 1 to 65535'

/** Several hosts are allowed, which `URL` does not understand. */
const URL_PATTERN = new RegExp(
  [
    /^(?<scheme>[a-z+]+):\/\//,
    /(?:(?<user>[^:@/?#]*)(?::(?<password>[^:@/?#]*))?@)?/,
    /(?<hosts>[^@/?#]*)(?<path>\/[^@?#]*)?(?:\?(?<query>[^@#]*))?$/,
  ]
    .map(({ source }) => source)
    .join(''),
)

/** @throws Error that names the source and says what is wrong. It contains no part of a URL that was not understood. */
export function parseUrl(where: string, name: string, url: string): SourceUrl {
  try {
    return { where, name, ...splitUrl(url) }
  } catch (error) {
    throw within(name, error)
  }
}

function splitUrl(url: string): Omit<SourceUrl, 'where' | 'name'> {
  const groups = URL_PATTERN.exec(url)?.groups
  if (!groups) throw new Error(EXPECTED_URL)
  const { scheme = '', user, password, hosts = '', path = '', query } = groups
  return {
    scheme,
    user: decode(user),
    password: decode(password),
    hosts: parseHosts(hosts),
    path,
    parameters: new URLSearchParams(query),
  }
}

/** @throws Error that does not contain the text: it can be a password whose `@` is missing. */
function parseHosts(text: string): Host[] {
  const addresses = text.split(',').filter((each) => each !== '')
  return addresses.map((address) => {
    // An IPv6 address has brackets.
    const match = /^(?:\[(?<ip>.+)\]|(?<host>[^:]+))(?::(?<port>\d+))?$/.exec(address)
    const { ip, host = ip, port: digits } = match?.groups ?? {}
    const port = digits === undefined ? undefined : Number(digits)
    const isPort = port === undefined || (port > 0 && port < 65_536)
    if (host === undefined || !isPort) throw new Error(EXPECTED_HOST)
    return { address, host, port }
  })
}

function decode(text: string | undefined): string | undefined {
  try {
    return text === undefined ? undefined : decodeURIComponent(text)
  } catch {
    throw new Error('encode a % in the user or password as %25')
  }
}

/** Says which part of the configuration an error is about. */
export function within(part: string, error: unknown): Error {
  return new Error(`${part}: ${(error as Error).message}`, { cause: error })
}
