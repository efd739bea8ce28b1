import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import type * as nodeModule from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readEnvironment } from 'opentelemetry-instrumentation-replication-lag/environment'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { recordDiag } from '../support/diag.js'

const SECRET = 'hunter2'

/** The package that cannot be found. */
const hidden = vi.hoisted(() => ({ name: '' }))
vi.mock('node:module', async (original) => {
  const module = await original<typeof nodeModule>()
  const createRequire = (from: string) => {
    const require = module.createRequire(from)
    const resolve = (name: string) => {
      if (name.startsWith(hidden.name || '\0')) throw new Error(`cannot find ${name}`)
      return require.resolve(name)
    }
    return Object.assign((path: string): unknown => require(path), { resolve })
  }
  return Object.assign({}, module, { createRequire })
})

async function temporaryFile(text: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'replication-lag-config-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const path = join(folder, 'replication-lag.json')
  await writeFile(path, text)
  return path
}

/** Returns the error. It must be one line without a password, and nothing may be logged. */
function errorOf(environment: Record<string, string>): string {
  const logged = recordDiag()
  onTestFinished(() => logged.stop())
  try {
    readEnvironment(environment)
  } catch (error) {
    const { message } = error as Error
    expect(message).not.toMatch(/\n|hunter/)
    expect(logged.messages).toEqual([])
    return message
  }
  throw new Error('expected an error')
}

const sourcesOf = (list: string) => readEnvironment({ REPLICATION_LAG_SOURCES: list })?.sources

describe('readEnvironment', () => {
  test.each([{}, { REPLICATION_LAG_SOURCES: ' ', REPLICATION_LAG_CONFIG: '' }])(
    'returns undefined if neither variable is set: %j',
    (environment) => {
      expect(readEnvironment(environment)).toBeUndefined()
    },
  )

  test('reads the environment of the process', () => {
    vi.stubEnv('REPLICATION_LAG_SOURCES', 'registry=etcd+http://a')
    onTestFinished(() => void vi.unstubAllEnvs())
    expect(readEnvironment()).toEqual({
      sources: [expect.objectContaining({ name: 'etcd:registry' })],
    })
  })

  test('names sources by system and name, which may be the same in two systems', () => {
    const names = sourcesOf(' a=etcd+http://a\n a=redis://b\tc=kafka://d?groups=e ')
    expect(names?.map(({ name }) => name)).toEqual(['etcd:a', 'redis:a', 'kafka:c'])
  })

  test('returns the options of a file', async () => {
    const options = {
      pollIntervalMillis: 1,
      pollTimeoutMillis: 2,
      retentionMillis: 3,
      lagSeconds: false,
      positions: true,
    }
    const sources = [{ name: 'a', url: 'etcd+http://a' }]
    const path = await temporaryFile(JSON.stringify({ sources, ...options }))
    expect(readEnvironment({ REPLICATION_LAG_CONFIG: path })).toMatchObject(options)
  })

  test.each([
    'kafka://a?groups=billing,shipping',
    'kafka://a?groups=billing&groups=shipping',
    'kafka://a?groups=,billing&groups=shipping&topics=',
  ])('takes a list as one parameter or as several: %s', (url) => {
    expect(sourcesOf(`a=${url}`)).toHaveLength(1)
  })
})

describe('an invalid list of sources is one clear error:', () => {
  test.each([
    ['no name', `postgres://monitor:${SECRET}@db`, 'entry 1 of REPLICATION_LAG_SOURCES: expected'],
    ['no URL', 'orders', 'expected name=url'],
    ['spaces around =', 'orders = redis://a', 'entry 1 of REPLICATION_LAG_SOURCES: expected name='],
    ['no scheme', `orders=monitor:${SECRET}@db`, 'orders: expected a URL such as postgres://'],
    [
      'an unknown scheme',
      `a=mongodb://u:${SECRET}@db`,
      'a: unknown scheme mongodb, expected one of',
    ],
    ['a password with /', `a=redis://u:${SECRET}/x@db`, '%40 for @'],
    ['a password with @', `a=redis://u:${SECRET}@x@db`, '%40 for @'],
    ['a password with ?', `a=redis://u:x?${SECRET}@db`, '%40 for @'],
    ['a password with #', `a=redis://u:x#${SECRET}@db`, '%40 for @'],
    ['a password with :', `a=redis://u:x:${SECRET}@db`, '%40 for @'],
    ['a password with a space', `a=redis://u:x ${SECRET}@db`, 'a: expected host or host:port'],
    ['a password with a lone %', `a=redis://u:${SECRET}%@db`, 'a: encode a %'],
    ['a login without @', `a=redis://u:${SECRET}`, 'a: expected host or host:port'],
    ['no host', 'a=redis://', 'a: the URL has no host'],
    ['a port that does not exist', 'a=redis://b:65536', 'a port from 1 to 65535'],
    ['port 0', 'a=postgres://b:0/c', 'a port from 1 to 65535'],
    [
      'an unknown parameter',
      'a=redis://db?replica=b',
      'unknown parameter replica. All nodes are hosts',
    ],
    ['a parameter of a URL that has none', 'a=etcd+http://a?b=c', 'parameter b, expected none'],
    ['replicas of Redis', 'a=redis://a?replicas=b', 'All nodes are hosts, as in redis://a,b,c'],
    ['several hosts of PostgreSQL', 'a=postgres://b,c/d', 'a: expected one host. Add a source for'],
    ['a flag that is no boolean', 'a=mysql://a?ssl=1', 'a: ssl: expected true or false'],
    ['a flag twice', 'a=mysql://a?ssl=true&ssl=false', 'a: ssl: expected one, got several'],
    [
      'two sources of one name',
      'a=etcd+http://a b=etcd+http://a a=etcd+http://b',
      'entry 3 of REPLICATION_LAG_SOURCES: expected a name other than a, which entry 1 of REPLICATION_LAG_SOURCES uses',
    ],
    [
      'commas',
      `a=redis://b,c=redis://u:${SECRET}@d`,
      'entry 1 of REPLICATION_LAG_SOURCES: separate',
    ],
    ['commas and spaces', 'a=postgres://b/c, d=redis://e', 'with spaces, not with commas'],
    ['quotes', '"orders=redis://a"', 'entry 1 of REPLICATION_LAG_SOURCES: remove the quotes'],
    ['quotes of a URL', "a=redis://b orders='redis://a'", 'entry 2 of REPLICATION_LAG_SOURCES: re'],
    ['a quote at the end', `orders=redis://a"`, 'remove the quotes'],
  ])('%s', (_, list, message) => {
    expect(errorOf({ REPLICATION_LAG_SOURCES: list })).toContain(message)
  })
})

describe('an invalid file is one clear error:', () => {
  test.each([
    ['text that is not JSON', `{ "sources": ["${SECRET}" }`, 'it is not valid JSON'],
    ['null', 'null', 'expected { "sources"'],
    ['no sources', '{}', 'expected { "sources"'],
    ['an empty list of sources', '{"sources":[]}', 'expected { "sources"'],
    ['a source without a URL', '{"sources":[{"name":"a"}]}', 'sources[0]: expected a "name" and'],
    ['an empty name', '{"sources":[{"name":"","url":"redis://a"}]}', 'sources[0]: expected a "na'],
    ['a source that is null', '{"sources":[null]}', 'sources[0]: expected a "name" and'],
    [
      'an unknown field',
      `{"sources":[{"name":"a","url":"redis://a","password":"${SECRET}"}]}`,
      'a: unknown property "password", expected one of name, url, passwordFile',
    ],
    [
      'a path that is not a string',
      '{"sources":[{"name":"a","url":"redis://a","passwordFile":1}]}',
      'a: expected a path in passwordFile',
    ],
    [
      'a missing file of a password',
      '{"sources":[{"name":"a","url":"redis://a","passwordFile":"/none"}]}',
      'ENOENT',
    ],
    [
      'an empty file of a password',
      '{"sources":[{"name":"a","url":"redis://a","passwordFile":"/dev/null"}]}',
      'the file /dev/null is empty',
    ],
    [
      'a misspelled option',
      '{"sources":[{"name":"a","url":"etcd+http://a"}],"pollInterval":0}',
      'unknown property "pollInterval", expected one of pollIntervalMillis, pollTimeoutMillis',
    ],
    [
      'an option of the instrumentation only',
      '{"sources":[{"name":"a","url":"etcd+http://a"}],"enabled":false}',
      'unknown property "enabled"',
    ],
    [
      'two sources of one name',
      '{"sources":[{"name":"a","url":"etcd+http://a"},{"name":"a","url":"etcd+http://b"}]}',
      'sources[1]: expected a name other than a, which sources[0] uses',
    ],
  ])('%s', async (_, text, message) => {
    const path = await temporaryFile(text)
    expect(errorOf({ REPLICATION_LAG_CONFIG: path })).toContain(message)
  })

  test('a path that does not exist', () => {
    expect(errorOf({ REPLICATION_LAG_CONFIG: '/none/lag.json' })).toMatch(
      /^REPLICATION_LAG_CONFIG, \/none\/lag.json: ENOENT/,
    )
  })
})

test('both variables at once are refused', () => {
  const both = { REPLICATION_LAG_SOURCES: 'a=redis://a', REPLICATION_LAG_CONFIG: '/none' }
  expect(errorOf(both)).toContain('not both')
})

test.each([
  ['a=mysql://db', 'mysql2'],
  ['a=postgres://db', 'pg'],
])('a package that is missing is named, with how to install it: %s', (list, name) => {
  hidden.name = name
  onTestFinished(() => void (hidden.name = ''))
  expect(errorOf({ REPLICATION_LAG_SOURCES: list })).toBe(
    `a: the package ${name} is missing. Install it: npm install ${name}`,
  )
})

test('a package that only this package can see is found', () => {
  const cwd = vi.spyOn(process, 'cwd').mockReturnValue('/')
  onTestFinished(() => cwd.mockRestore())
  expect(sourcesOf('a=postgres://db')).toHaveLength(1)
})
