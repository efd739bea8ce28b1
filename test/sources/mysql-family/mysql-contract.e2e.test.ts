import { mysql } from '../../servers/mysql.mjs'
import { describeContract, describeInstalled } from '../contract.js'

await describeInstalled(mysql, () => {
  for (const client of ['mysql2', 'mariadb']) {
    const faults = { 'wrong password': /Access denied.*check the user/ }
    describeContract(mysql, { client, faults })
  }
})
