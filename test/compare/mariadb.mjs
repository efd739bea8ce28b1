import { currentMariadb, mariadb } from '../servers/mariadb.mjs'
import { compareFamily } from './mysql.mjs'

/** @param {import('../servers/servers.mjs').Servers} servers */
export async function start(servers) {
  return compareFamily((await currentMariadb.isInstalled()) ? currentMariadb : mariadb, servers, {
    status: 'show slave status',
    seconds: 'Seconds_Behind_Master',
    io: 'Slave_IO_Running',
    applier: 'slave sql_thread',
  })
}
