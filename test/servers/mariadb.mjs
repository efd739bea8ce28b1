import { existsSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createConnection } from 'mysql2/promise'
import { mariadbSource } from 'opentelemetry-instrumentation-replication-lag/sources/mariadb'
import { startFamily, templateOf } from './mysql-family.mjs'
import { freePort } from './postgres/processes.mjs'
import { findProgram, findUnstable, isOnPath, run } from './servers.mjs'

/** @import { Dialect } from './mysql-family.mjs' */

/** @import { Servers } from './servers.mjs' */
/** @import { SystemKind } from './system.js' */

/**
 * @typedef {object} Command
 * @property {string} program
 * @property {readonly string[]} parameters the first ones of the program
 * @property {(folder: string) => Promise<unknown>} install creates a data folder
 */

/** The server of this machine. */
export const mariadb = createKind('MariaDB', 'sudo apt-get install mariadb-server', async () => {
  const program = await findProgram('mariadbd')
  if (!program || !(await isOnPath('mariadb-install-db'))) return undefined
  return { program, parameters: ['--no-defaults'], install }
})

const GALERA = '/usr/lib/galera/libgalera_smm.so'

/** A Galera cluster of two nodes, without a leader. @type {Omit<SystemKind, 'start'>} */
export const galera = {
  title: 'Galera',
  unit: 'transactions',
  install: 'sudo apt-get install mariadb-server galera-4 rsync',
  isInstalled: async () =>
    existsSync(GALERA) && (await mariadb.isInstalled()) && (await isOnPath('rsync')),
}

/** Starts it, and returns the ports of its nodes. Their users are `root` alone. @param {Servers} servers */
export async function startGalera(servers) {
  const program = (await findProgram('mariadbd')) ?? 'mariadbd'
  const [first, ...others] = [await freePort(), await freePort()]
  /** @type {number[]} */
  const ports = []
  // One after the other: the second one gets its data from the first one.
  for (const [index, peer] of [first, ...others].entries()) {
    const name = `node-${index + 1}`
    const folder = await servers.folderOf(name)
    const data = join(folder, 'data')
    await install(data)
    // rsync drops the privileges of root, so none of the processes may have them.
    const isRoot = process.getuid?.() === 0
    if (isRoot) await run('chmod', ['711', servers.folder])
    if (isRoot) await run('chown', ['-R', 'nobody', folder])
    const port = await freePort()
    const addresses = [
      `base_port=${peer};gmcast.listen_addr=tcp://127.0.0.1:${peer}`,
      `ist.recv_addr=127.0.0.1:${await freePort()};gcache.size=8M`,
    ]
    const parameters = [
      '--no-defaults',
      `--datadir=${data}`,
      `--socket=${join(folder, 'socket')}`,
      `--port=${port}`,
      '--bind-address=127.0.0.1',
      '--wsrep-on=ON',
      `--wsrep-provider=${GALERA}`,
      `--wsrep-cluster-address=gcomm://${index === 0 ? '' : `127.0.0.1:${first}`}`,
      `--wsrep-provider-options=base_host=127.0.0.1;${addresses.join(';')}`,
      '--wsrep-sst-method=rsync',
      `--wsrep-sst-receive-address=127.0.0.1:${await freePort()}`,
      '--wsrep-node-address=127.0.0.1',
      `--wsrep-node-name=${name}`,
      '--binlog-format=ROW',
      '--innodb-autoinc-lock-mode=2',
      '--innodb-log-file-size=4M',
      '--log-bin=bin',
    ]
    const server = await servers.start(name, program, parameters, isRoot ? { uid: 65534 } : {})
    await servers.until(`${name} is ready`, async () => {
      if (server.hasExited) throw new Error(server.output)
      const connection = await createConnection({ host: '127.0.0.1', port, user: 'root' })
      const [rows] = await connection.query("show status like 'wsrep_ready'")
      connection.destroy()
      const [row] = /** @type {{ Value: string }[]} */ (rows)
      return row?.Value === 'ON'
    })
    ports.push(port)
  }
  return ports
}

/** That of Debian unstable. */
export const currentMariadb = createKind(
  'MariaDB 11',
  'sh test/servers/unpack-unstable.sh mariadb-server-core',
  () => {
    const found = findUnstable('mariadb-server-core', 'usr/sbin/mariadbd')
    if (!found) return Promise.resolve(undefined)
    const scripts = join(found.root, 'usr/share/mariadb')
    const parameters = [...found.parameters, '--no-defaults', `--lc-messages-dir=${scripts}`]
    return Promise.resolve({
      program: found.program,
      parameters: [...parameters, `--character-sets-dir=${join(scripts, 'charsets')}`],
      install: (folder) => bootstrap(found.program, parameters, scripts, folder),
    })
  },
)

/**
 * @param {string} title
 * @param {string} how to install it
 * @param {() => Promise<Command | undefined>} find
 * @returns {SystemKind}
 */
function createKind(title, how, find) {
  return {
    title,
    unit: 'transactions',
    install: how,
    isInstalled: async () => (await find()) !== undefined,
    async start(servers) {
      const found = await find()
      if (!found) throw new Error(`${title} is not installed: ${how}`)
      const { program, parameters, install: createFolder } = found
      const printed = await run(program, [...parameters, '--version'])
      const version = /\d+\.\d+\.\d+/.exec(printed)?.[0] ?? 'any'
      const template = await templateOf(`mariadb-${version}`, createFolder)
      const all = [...parameters, ...DIALECT.parameters]
      return startFamily(servers, { ...DIALECT, program, parameters: all, template })
    },
  }
}

/** @type {Omit<Dialect, 'program' | 'template'>} */
const DIALECT = {
  parameters: [
    '--skip-name-resolve',
    '--log-slave-updates',
    '--gtid-strict-mode',
    '--performance-schema=off',
    '--innodb-log-file-size=4M',
    '--key-buffer-size=1M',
    '--aria-pagecache-buffer-size=1M',
  ],
  users: [
    "create user replicator@'127.0.0.1' identified by 'replicator'",
    "grant replication slave on *.* to replicator@'127.0.0.1'",
    "create user monitor@'127.0.0.1' identified by 'monitor'",
    "grant replica monitor on *.* to monitor@'127.0.0.1'",
    "create user visitor@'127.0.0.1' identified by 'monitor'",
  ],
  follow: (port) => [
    `change master to master_host = '127.0.0.1', master_port = ${port}, master_user = 'replicator',
      master_password = 'replicator', master_use_gtid = slave_pos, master_connect_retry = 1`,
    'start slave',
  ],
  changeIdentity: ({ id, isChanged }) => [
    'stop slave',
    `set global server_id = ${isChanged ? id + 100 : id}`,
    'start slave',
  ],
  links: 'show all slaves status',
  isLinked: (row) => row['Slave_IO_Running'] === 'Yes',
  receivedOf: (row) => String(row['Gtid_IO_Pos']),
  monitor: ['replica monitor on *.*', "monitor@'127.0.0.1'"],
  pauseApplying: ['stop slave sql_thread'],
  resumeApplying: ['start slave'],
  restart: ['stop slave', 'start slave'],
  promote: ['stop slave', 'reset slave all'],
  demote: ['set global gtid_slave_pos = @@global.gtid_current_pos'],
  replicationState: `select if(sum(variable_value = 'ON') = 1, 'ok', 'not yet') as state
    from information_schema.global_status where variable_name = 'SLAVE_RUNNING'`,
  positionQuery: (role) =>
    `select @@global.gtid_${role === 'leader' ? 'binlog' : 'slave'}_pos as position`,
  countOf: (position) => BigInt(/^0-\d+-(\d+)/.exec(position)?.[1] ?? 0),
  scheme: 'mariadb',
  createSource: mariadbSource,
}

/** @param {string} folder */
async function install(folder) {
  const user = process.getuid?.() === 0 ? ['--user=root'] : []
  await run('mariadb-install-db', [
    '--no-defaults',
    ...user,
    `--datadir=${folder}`,
    '--auth-root-authentication-method=normal',
    '--skip-test-db',
    '--skip-name-resolve',
    '--innodb-log-file-size=4M',
  ])
}

/**
 * Does what mariadb-install-db does, which needs all programs where they were built for.
 *
 * @param {string} program
 * @param {readonly string[]} parameters
 * @param {string} scripts
 * @param {string} folder
 */
async function bootstrap(program, parameters, scripts, folder) {
  const user = process.getuid?.() === 0 ? ['--user=root'] : []
  await mkdir(folder)
  const names = ['system_tables', 'performance_tables', 'system_tables_data']
  const parts = await Promise.all(
    names.map((name) => readFile(join(scripts, `mariadb_${name}.sql`), 'utf8')),
  )
  const sql = ['create database mysql;', 'use mysql;', 'set @auth_root_socket = null;', ...parts]
  const file = `${folder}.sql`
  await writeFile(file, sql.join('\n'))
  const more = [
    '--bootstrap',
    `--datadir=${folder}`,
    '--innodb-log-file-size=4M',
    '--skip-name-resolve',
  ]
  const all = [file, program, ...parameters, ...user, ...more]
  // It reads the statements from its standard input.
  await run('sh', ['-c', 'file=$1; shift; exec "$@" <"$file"', 'sh', ...all])
}
