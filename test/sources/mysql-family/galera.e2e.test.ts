import { createPool } from 'mysql2/promise'
import { mariadbSource } from 'opentelemetry-instrumentation-replication-lag/sources/mariadb'
import { expect, it, onTestFinished } from 'vitest'
import { galera, startGalera } from '../../servers/mariadb.mjs'
import { describeInstalled, useStarted } from '../contract.js'
import { read } from './scenarios.js'

await describeInstalled(galera, () => {
  const ports = useStarted(startGalera)

  it('has no leader, and a warning says what to do', async () => {
    const nodes = Object.fromEntries(
      ports().map((port, index) => {
        const pool = createPool({ host: '127.0.0.1', port, user: 'root' })
        onTestFinished(() => pool.end())
        return [`node-${index + 1}`, pool]
      }),
    )
    const { shards } = await read(mariadbSource({ nodes, shard: 'orders' }))
    expect(shards).toEqual([
      {
        shard: 'orders',
        problem: expect.stringMatching(
          /^node-1 and node-2 are nodes of a Galera cluster, which has no leader: list one of them/,
        ) as string,
        followers: [
          { replica: 'node-1', connected: false },
          { replica: 'node-2', connected: false },
        ],
      },
    ])
  })
})
