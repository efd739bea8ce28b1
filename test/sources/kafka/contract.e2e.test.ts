import { kafka } from '../../servers/kafka.mjs'
import { describeContract, describeInstalled } from '../contract.js'

const faults = {
  'wrong password': /Kafka: .*: check the user and its password/,
  'missing right': /Kafka: .*: grant the user the right Describe on the groups/,
}

await describeInstalled(kafka, () => {
  // A group without consumers is still a group. Failover is tested with three brokers.
  const limits = { keepsKilled: true, failsOver: false }
  describeContract(kafka, {
    ...limits,
    client: 'kafkajs',
    // It asks for each group.
    questions: 2,
    faults,
  })
  describeContract(kafka, {
    ...limits,
    client: '@platformatic/kafka',
    faults,
  })
})
