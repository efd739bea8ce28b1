import { etcd, etcd36 } from '../../servers/etcd.mjs'
import { describeContract, describeInstalled } from '../contract.js'

for (const kind of [etcd, etcd36]) {
  await describeInstalled(kind, () => {
    const cannot = { claim: 'members that do not know of the newest term are not followed' }
    describeContract(kind, { findsLeader: true, cannot })
  })
}
