import { currentMariadb, mariadb } from '../../servers/mariadb.mjs'
import { mysql } from '../../servers/mysql.mjs'
import { describeContract, describeInstalled } from '../contract.js'

// Each server, and each client on both systems.
const combinations = [
  { kind: mysql, clients: ['mysql2', 'mariadb'] },
  { kind: mariadb, clients: ['mysql2'] },
  { kind: currentMariadb, clients: ['mariadb'] },
]

for (const { kind, clients } of combinations) {
  const grant = kind === mysql ? 'SELECT' : 'REPLICA MONITOR'
  await describeInstalled(kind, () => {
    for (const client of clients) {
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
