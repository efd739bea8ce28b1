import { etcd } from '../../servers/etcd.mjs'
import { describeContract, describeInstalled } from '../contract.js'

await describeInstalled(etcd, () => describeContract(etcd, { findsLeader: true }))
