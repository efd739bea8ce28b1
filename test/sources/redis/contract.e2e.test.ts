import { currentRedis, redis, valkey } from '../../servers/redis.mjs'
import { describeContract, describeInstalled } from '../contract.js'

for (const kind of [redis, currentRedis, valkey]) {
  await describeInstalled(kind, () => {
    for (const client of ['ioredis', 'redis']) {
      describeContract(kind, {
        client,
        countsWrites: false,
        findsLeader: true,
        claims: /claim to lead/,
        cannot: { join: 'the source asks the nodes that it was given' },
        faults: {
          'wrong password': /WRONGPASS.*check the user/,
          'missing right': /NOPERM.*\+info/,
        },
      })
    }
  })
}
