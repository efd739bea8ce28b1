import { jetstream, newestJetStream } from '../../servers/jetstream.mjs'
import { describeContract, describeInstalled } from '../contract.js'

const options = {
  findsLeader: true,
  cannot: { claim: 'a server that was replaced steps down by itself' },
}

await describeInstalled(jetstream, () => describeContract(jetstream, options))

await describeInstalled(newestJetStream, () => describeContract(newestJetStream, options))
