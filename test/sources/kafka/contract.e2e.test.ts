import { kafka } from '../../servers/kafka.mjs'
import { describeContract, describeInstalled } from '../contract.js'

const faults = {
  'wrong password': /Kafka: .*: check the user and its password/,
  'missing right': /Kafka: .*: grant the user Describe on the groups/,
}

await describeInstalled(kafka, () => {
  // Failover is tested with three brokers.
  const limits = { failsOver: false }
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
