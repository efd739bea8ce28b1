import { currentMariadb, mariadb } from '../../servers/mariadb.mjs'
import { describeContract, describeInstalled } from '../contract.js'

for (const kind of [mariadb, currentMariadb]) {
  await describeInstalled(kind, () => {
    for (const client of ['mysql2', 'mariadb']) {
      const faults = {
        'wrong password': /Access denied.*check the user/,
        'missing right': /which node leads is unknown.*GRANT REPLICA MONITOR/,
      }
      describeContract(kind, {
        client,
        faults,
        findsLeader: true,
        claims: /claim to lead/,
        cannot: { join: 'the nodes are given by name' },
      })
    }
  })
}
