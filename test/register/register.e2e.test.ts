import { expect, onTestFinished, test } from 'vitest'
import { etcd } from '../servers/etcd.mjs'
import { jetstream } from '../servers/jetstream.mjs'
import { kafka } from '../servers/kafka.mjs'
import { mariadb } from '../servers/mariadb.mjs'
import { mysql } from '../servers/mysql.mjs'
import { postgres } from '../servers/postgres.mjs'
import { redis } from '../servers/redis.mjs'
import type { System } from '../../test/servers/system.js'
import { describeInstalled, useStarted } from '../sources/contract.js'
import { useBuiltPackage } from '../support/built-package.js'
import { eventually } from '../support/eventually.js'
import { Program } from '../support/program.js'
import { repository } from '../support/repository.js'

// A program without a line about replication lag, on a real server of each system.

const built = await useBuiltPackage()

interface Metric {
  readonly name: string
  readonly points: readonly { readonly value: number; readonly replica?: string }[]
}

function start(flag: '--import' | '--require', url: string) {
  const program = new Program(
    [
      flag,
      'opentelemetry-instrumentation-replication-lag/register',
      `${repository}/test/register/program.mjs`,
    ],
    { cwd: built.folder, env: { REPLICATION_LAG_SOURCES: `orders=${url}` } },
  )
  onTestFinished(() => program.stop())
  /** Returns the values of a metric that were printed last. */
  const latest = (name: string): number[] => {
    const lines = program.stdout.split('\n').slice(0, -1)
    const metrics = lines.map((line) => JSON.parse(line) as Metric)
    const metric = metrics.findLast((each) => each.name === name)
    return metric?.points.map(({ value }) => value).sort((a, b) => a - b) ?? []
  }
  return { program, latest }
}

for (const kind of [postgres, redis, mariadb, mysql, jetstream, etcd, kafka]) {
  await describeInstalled(kind, () => {
    const system = useStarted<System>((servers) => kind.start(servers))

    test('is reported without code, and its connections do not keep the process running', async () => {
      const [first] = system().followers
      await system().write(1)
      const { program, latest } = start(kind === postgres ? '--require' : '--import', system().url)
      await eventually(() => {
        expect(latest('replication_lag_seqno')).toEqual([0, 0])
        expect(latest('replication_follower_connected')).toEqual([1, 1])
      })

      expect(program.stderr).toBe('')

      await system().cut(first)
      await system().write(100)
      await eventually(() => {
        const [least, most] = latest('replication_lag_seqno')
        expect(least).toBe(0)
        expect(most).toBeGreaterThanOrEqual(100)
      })
      await system().mend(first)
      await eventually(() => expect(latest('replication_lag_seqno')).toEqual([0, 0]))

      program.kill('SIGUSR2')
      expect(await program.ended).toEqual({ code: 0, signal: null })
    })
  })
}
