import { jetstream } from '../../../docs/examples/systems/jetstream.mjs'
import { describeContract, describeInstalled } from '../contract.js'

await describeInstalled(jetstream, () => describeContract(jetstream, { findsLeader: true }))
