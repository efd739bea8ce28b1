import { jetstream } from '../../servers/jetstream.mjs'
import { describeContract, describeInstalled } from '../contract.js'

await describeInstalled(jetstream, () => describeContract(jetstream, { findsLeader: true }))
