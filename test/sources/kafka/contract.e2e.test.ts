import { kafka } from '../../servers/kafka.mjs'
import { describeContract, describeInstalled, type ContractOptions } from '../contract.js'

const options: ContractOptions = {
  faults: {
    'wrong password': /Kafka: .*: check the user and its password/,
    'missing right': /Kafka: .*: grant the user Describe on the groups/,
  },
  // The other e2e tests of Kafka have three brokers.
  failsOver: false,
  cannot: {
    pause: 'a group has no server of its own',
    gates: 'a group has no server of its own',
    wipe: 'a group has no data of its own',
    claim: 'the controller elects one leader',
  },
}

await describeInstalled(kafka, () => {
  // It asks for the commits and the members of each group, and tries another client when one hangs. It
  // connects for each read.
  describeContract(kafka, { ...options, client: 'kafkajs', questions: 6, reads: 150 })
  // It asks for two things at a time that do not depend on each other.
  describeContract(kafka, { ...options, client: '@platformatic/kafka', questions: 2 })
})
