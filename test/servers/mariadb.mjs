import { mariadbSource } from 'opentelemetry-instrumentation-replication-lag/sources/mariadb'
import { startFamily, templateOf } from './mysql-family.mjs'
import { findProgram, isOnPath, run } from './servers.mjs'

/** @import { Servers } from './servers.mjs' */
/** @import { Dialect } from './mysql-family.mjs' */

const install = 'sudo apt-get install mariadb-server'

/** @type {import('./system.js').SystemKind} */
export const mariadb = { title: 'MariaDB', unit: 'transactions', install, isInstalled, start }

async function isInstalled() {
  return (await isOnPath('mariadbd')) && (await isOnPath('mariadb-install-db'))
}

/** @param {Servers} servers */
async function start(servers) {
  const program = (await findProgram('mariadbd')) ?? 'mariadbd'
  const version = /\d+\.\d+\.\d+/.exec(await run(program, ['--version']))?.[0] ?? 'any'
  const template = await templateOf(`mariadb-${version}`, createTemplate)
  return startFamily(servers, { ...DIALECT, program, template })
}

/** @type {Omit<Dialect, 'program' | 'template'>} */
const DIALECT = {
  parameters: [
    '--no-defaults',
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
  restart: ['stop slave', 'start slave'],
  promote: ['stop slave', 'reset slave all'],
  replicationState: `select if(sum(variable_value = 'ON') = 1, 'ok', 'not yet') as state
    from information_schema.global_status where variable_name = 'SLAVE_RUNNING'`,
  positionQuery: (role) =>
    `select @@global.gtid_${role === 'leader' ? 'binlog' : 'slave'}_pos as position`,
  countOf: (position) => BigInt(/^0-\d+-(\d+)/.exec(position)?.[1] ?? 0),
  scheme: 'mariadb',
  createSource: mariadbSource,
}

/** @param {string} folder */
async function createTemplate(folder) {
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
