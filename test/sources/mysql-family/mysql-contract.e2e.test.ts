import { mysql } from '../../servers/mysql.mjs'
import { describeContract, describeInstalled } from '../contract.js'

await describeInstalled(mysql, () => {
  for (const client of ['mysql2', 'mariadb']) {
    const faults = {
      'wrong password': /Access denied.*check the user/,
      'missing right': /which node leads is unknown.*GRANT SELECT/,
    }
    describeContract(mysql, {
      client,
      faults,
      findsLeader: true,
      claims: /claim to lead/,
      cannot: { join: 'the nodes are given by name' },
    })
  }
})
