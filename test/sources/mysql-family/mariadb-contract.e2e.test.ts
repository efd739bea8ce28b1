import { mariadb } from '../../servers/mariadb.mjs'
import { describeContract, describeInstalled } from '../contract.js'

await describeInstalled(mariadb, () => {
  for (const client of ['mysql2', 'mariadb']) {
    const faults = { 'wrong password': /Access denied.*check the user/ }
    describeContract(mariadb, { client, faults })
  }
})
