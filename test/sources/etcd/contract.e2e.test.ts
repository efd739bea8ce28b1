import { etcd, etcd36 } from '../../servers/etcd.mjs'
import { describeContract, describeInstalled } from '../contract.js'

for (const kind of [etcd, etcd36]) {
  await describeInstalled(kind, () => describeContract(kind, { findsLeader: true }))
}
