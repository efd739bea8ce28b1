import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { mysqlSource } from 'opentelemetry-instrumentation-replication-lag/sources/mysql'
import { Family, startFamily, startMembers, templateOf } from './mysql-family.mjs'
import { freePort } from './postgres/processes.mjs'
import { findProgram, findUnstable, run } from './servers.mjs'

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
  return startFamily(servers, await dialect())
}

/** @returns {Promise<Dialect>} */
async function dialect() {
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
    // Each server gets its own UUID.
    await rm(join(folder, 'auto.cnf'), { force: true })
  })
  return { ...DIALECT, program, template, parameters: [...parameters, ...DIALECT.parameters] }
}

/** Starts a replication group of three members, the primary first. @param {Servers} servers */
export async function startGroup(servers) {
  const ports = [await freePort(), await freePort(), await freePort()]
  const addresses = ports.map((port) => `127.0.0.1:${port}`)
  const shared = await dialect()
  const names = ['member-1', 'member-2', 'member-3']
  const members = await startMembers(servers, shared, names, (index) => [
    '--report-host=127.0.0.1',
    '--plugin-load-add=group_replication.so',
    '--loose-group-replication-group-name=aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa',
    `--loose-group-replication-local-address=${addresses[index]}`,
    `--loose-group-replication-group-seeds=${addresses.join(',')}`,
    '--loose-group-replication-start-on-boot=OFF',
    '--loose-group-replication-recovery-get-public-key=ON',
    // How long it takes until another primary is elected.
    '--loose-group-replication-member-expel-timeout=0',
  ])
  for (const [index, member] of members.entries()) {
    await member.run([
      'set sql_log_bin = 0',
      ...shared.users,
      "grant backup_admin, group_replication_stream, connection_admin on *.* to replicator@'%'",
      'set sql_log_bin = 1',
      `change replication source to source_user = 'replicator', source_password = 'replicator'
        for channel 'group_replication_recovery'`,
      `set global group_replication_bootstrap_group = ${index === 0 ? 'ON' : 'OFF'}`,
      'start group_replication',
      'set global group_replication_bootstrap_group = OFF',
    ])
    if (index > 0) continue
    await member.run([
      'create database app',
      'create table app.t (i int auto_increment primary key)',
    ])
  }
  const group = new Family(servers, shared, members)
  for (const name of group.followers) await group.untilCaughtUp(name)
  return group
}

/** @param {number} port @param {string} channel */
function follow(port, channel) {
  return [
    `change replication source to source_host = '127.0.0.1', source_port = ${port},
      source_user = 'replicator', source_password = 'replicator', source_auto_position = 1,
      get_source_public_key = 1, source_connect_retry = 1, source_retry_count = 86400
      for channel '${channel}'`,
    'start replica',
  ]
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
    "grant select on performance_schema.replication_group_members to monitor@'%'",
    "create user visitor@'%' identified by 'monitor'",
  ],
  follow: (port) => follow(port, ''),
  changeIdentity: ({ port, isChanged }) => [
    ...['stop replica', 'reset replica all'],
    ...follow(port, isChanged ? 'renamed' : ''),
  ],
  links: `select service_state, @@global.gtid_executed as executed,
    gtid_subtract(received_transaction_set, @@global.gtid_executed) as more
    from performance_schema.replication_connection_status`,
  isLinked: (row) => row['service_state'] === 'ON',
  receivedOf: ({ executed, more }) => `${String(executed)},${String(more)}`,
  monitor: ['select on performance_schema.replication_connection_status', "monitor@'%'"],
  pauseApplying: ['stop replica sql_thread'],
  resumeApplying: ['start replica'],
  restart: ['stop replica', 'start replica'],
  promote: ['stop replica', 'reset replica all'],
  demote: [],
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
