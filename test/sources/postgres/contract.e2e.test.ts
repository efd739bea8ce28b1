import { postgres } from '../../servers/postgres.mjs'
import { describeContract } from '../contract.js'

describeContract(postgres, {
  countsWrites: false,
  faults: {
    'wrong password': /password authentication failed/,
    'missing right': /GRANT pg_monitor/,
  },
  cannot: { gates: 'the source reads only the leader', claim: 'the source reads only the leader' },
})
