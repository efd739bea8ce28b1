import { etcd } from '../../../docs/examples/systems/etcd.mjs'
import { describeContract, describeInstalled } from '../contract.js'

await describeInstalled(etcd, () => describeContract(etcd, { findsLeader: true }))
