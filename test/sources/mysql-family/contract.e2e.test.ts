import { currentMariadb, mariadb } from '../../servers/mariadb.mjs'
import { mysql } from '../../servers/mysql.mjs'
import { describeContract, describeInstalled } from '../contract.js'

for (const kind of [mysql, mariadb, currentMariadb]) {
  const grant = kind === mysql ? 'SELECT' : 'REPLICA MONITOR'
  await describeInstalled(kind, () => {
    for (const client of ['mysql2', 'mariadb']) {
      describeContract(kind, {
        client,
        faults: {
          'wrong password': /Access denied.*check the user/,
          'missing right': new RegExp(`which node leads is unknown.*GRANT ${grant}`),
        },
        findsLeader: true,
        claims: /claim to lead/,
        cannot: { join: 'the nodes are given by name' },
      })
    }
  })
}
