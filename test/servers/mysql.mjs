import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { mysqlSource } from 'opentelemetry-instrumentation-replication-lag/sources/mysql'
import { startFamily, templateOf } from './mysql-family.mjs'
import { findProgram, run } from './servers.mjs'
import { findUnstable } from './unstable.mjs'

/** @import { Servers } from './servers.mjs' */
/** @import { Dialect } from './mysql-family.mjs' */

const install = 'sh test/servers/unpack-unstable.sh mysql-server-core'

/** @type {import('./system.js').SystemKind} */
export const mysql = { title: 'MySQL', unit: 'transactions', install, isInstalled, start }

async function isInstalled() {
  return (await findServer()) !== undefined
}

/** Returns the command of the server that was unpacked, otherwise of the one of this machine. */
async function findServer() {
  const unstable = findUnstable('mysql-server-core', 'usr/sbin/mysqld')
  if (unstable) {
    const { root, program, parameters } = unstable
    return {
      program,
      parameters: [
        ...[...parameters, '--no-defaults', `--basedir=${join(root, 'usr')}`],
        `--plugin-dir=${join(root, 'usr/lib/mysql/plugin')}`,
        `--lc-messages-dir=${join(root, 'usr/share/mysql')}`,
        `--character-sets-dir=${join(root, 'usr/share/mysql/charsets')}`,
      ],
    }
  }
  const program = await findProgram('mysqld')
  // MariaDB has a program of this name too.
  if (!program || /mariadb/i.test(await run(program, ['--version']))) return undefined
  return { program, parameters: ['--no-defaults'] }
}

/** @param {Servers} servers */
async function start(servers) {
  const found = await findServer()
  if (!found) throw new Error(`MySQL is not installed: ${install}`)
  const { program } = found
  const parameters = [
    ...found.parameters,
    '--secure-file-priv=NULL',
    '--innodb-redo-log-capacity=8M',
  ]
  const version = /\d+\.\d+\.\d+/.exec(await run(program, [...found.parameters, '--version']))
  const template = await templateOf(`mysql-${version?.[0] ?? 'any'}`, async (folder) => {
    const user = process.getuid?.() === 0 ? ['--user=root'] : []
    await run(program, [...parameters, ...user, '--initialize-insecure', `--datadir=${folder}`])
    // Each server gets a UUID of its own.
    await rm(join(folder, 'auto.cnf'), { force: true })
  })
  return startFamily(servers, {
    ...DIALECT,
    program,
    template,
    parameters: [...parameters, ...DIALECT.parameters],
  })
}

/** @type {Omit<Dialect, 'program' | 'template'>} */
const DIALECT = {
  parameters: [
    '--gtid-mode=ON',
    '--enforce-gtid-consistency=ON',
    '--mysqlx=OFF',
    '--table-open-cache=64',
    '--table-definition-cache=400',
    '--max-connections=30',
  ],
  users: [
    "create user replicator@'%' identified by 'replicator'",
    "grant replication slave on *.* to replicator@'%'",
    "create user monitor@'%' identified by 'monitor'",
    "grant select on performance_schema.replication_connection_status to monitor@'%'",
    "create user visitor@'%' identified by 'monitor'",
  ],
  follow: (port) => [
    `change replication source to source_host = '127.0.0.1', source_port = ${port},
      source_user = 'replicator', source_password = 'replicator', source_auto_position = 1,
      get_source_public_key = 1, source_connect_retry = 1`,
    'start replica',
  ],
  restart: ['stop replica', 'start replica'],
  promote: ['stop replica', 'reset replica all'],
  replicationState: `select if(c.service_state = 'ON' and a.service_state = 'ON', 'ok', 'not yet') as state
    from performance_schema.replication_connection_status c, performance_schema.replication_applier_status a`,
  positionQuery: () => 'select @@global.gtid_executed as position',
  countOf(position) {
    let count = 0n
    for (const [, first = 0, last = first] of position.matchAll(/:(\d+)(?:-(\d+))?/g)) {
      count += BigInt(last) - BigInt(first) + 1n
    }
    return count
  },
  scheme: 'mysql',
  createSource: mysqlSource,
}
