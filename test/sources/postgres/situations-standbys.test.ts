import type { ReplicationSource } from 'opentelemetry-instrumentation-replication-lag'
import { describe, expect, it } from 'vitest'
import { eventually } from '../../support/eventually.js'
import { poll } from '../../support/postgres-monitor.js'
import { WalReceiver } from '../../support/postgres-wal-receiver.js'
import {
  createSource,
  openLink,
  read,
  readFollowers,
  readLags,
  startCluster,
  write,
} from '../../support/postgres.js'

// docs/sources/postgres.md begins with a table of these situations, under the same names.

const { cluster, primary } = await startCluster()

describe('a standby', () => {
  it('Replay is paused', async () => {
    const standby = await cluster.startStandby({ name: 'paused', of: primary })
    const source = createSource(primary)
    await standby.pauseReplay()
    const stoppedAt = await standby.position()
    await write(primary)
    await eventually(async () => {
      const { leaderSeqno = 0n, followers } = (await read(source)).shards[0] ?? {}
      expect(BigInt(leaderSeqno) - stoppedAt).toBeGreaterThan(100_000n)
      expect(followers).toMatchObject([
        { connected: true, appliedSeqno: stoppedAt, receivedSeqno: leaderSeqno },
      ])
    })
    await standby.resumeReplay()
    await eventually(async () => expect(await readLags(source)).toEqual({ paused: 0 }))
  })

  it('The link is cut', async () => {
    const conf = { wal_sender_timeout: '1s' }
    const impatient = await cluster.startPrimary({ name: 'impatient', conf })
    const link = await openLink(impatient)
    await cluster.startStandby({ name: 'far', of: impatient, slot: 'far', port: link.port })
    const source = createSource(impatient)
    await eventually(async () => expect(await readLags(source)).toEqual({ far: 0 }))
    link.close()
    await write(impatient)
    // The server takes the connection for a good one until wal_sender_timeout. The lag shows at once.
    expect((await readLags(source))['far']).toBeGreaterThan(100_000)
    await eventually(async () => {
      const { far } = await readFollowers(source)
      expect(far?.connected).toBe(false)
      expect(far?.lag).toBeGreaterThan(100_000)
    })
  })

  it('A standby with a slot stops', async () => {
    const standby = await cluster.startStandby({ name: 'stopped', of: primary, slot: 'stopped' })
    const metrics = poll([createSource(primary)])
    await eventually(() =>
      expect(metrics.find('stopped')).toMatchObject({ connected: true, lagSeqno: 0 }),
    )
    await standby.kill()
    await write(primary)
    await eventually(() => {
      const { connected, lagSeqno, retainedSeqno } = metrics.find('stopped') ?? {}
      expect(connected).toBe(false)
      expect(lagSeqno).toBeGreaterThan(100_000)
      expect(retainedSeqno).toBeGreaterThan(100_000)
    })
    await standby.start()
    await eventually(() =>
      expect(metrics.find('stopped')).toMatchObject({ connected: true, lagSeqno: 0 }),
    )
  })

  it('A standby without a slot stops', async () => {
    const standby = await cluster.startStandby({ name: 'slotless', of: primary })
    const metrics = poll([createSource(primary)])
    await eventually(() =>
      expect(metrics.find('slotless')).toMatchObject({ connected: true, lagSeqno: 0 }),
    )
    await standby.kill()
    await write(primary)
    await eventually(() => {
      const { connected, lagSeqno } = metrics.find('slotless') ?? {}
      expect(connected).toBe(false)
      expect(lagSeqno).toBeGreaterThan(100_000)
    })
  })

  it('A standby is missing when the monitor starts', async () => {
    const standby = await cluster.startStandby({ name: 'expected', of: primary })
    const source = createSource(primary, { expect: ['expected', 'never'] })
    await eventually(async () =>
      expect(await readFollowers(source)).toEqual({
        expected: { connected: true, lag: 0 },
        never: { connected: false, lag: undefined },
      }),
    )
    await standby.kill()
    const restarted = createSource(primary, { expect: ['expected'] })
    await eventually(async () =>
      expect(await readFollowers(restarted)).toEqual({
        expected: { connected: false, lag: undefined },
      }),
    )
  })

  it('A standby is cloned again through its slot', async () => {
    const standby = await cluster.startStandby({ name: 'cloned', of: primary, slot: 'cloned' })
    const source = createSource(primary)
    await eventually(async () => expect(await readLags(source)).toEqual({ cloned: 0 }))
    await standby.kill()
    await write(primary)
    const isDisconnected = async () => {
      const { cloned } = await readFollowers(source)
      expect(cloned?.connected).toBe(false)
      expect(cloned?.lag).toBeGreaterThan(100_000)
    }
    await eventually(isDisconnected)
    const backup = await WalReceiver.start(primary, {
      applicationName: 'pg_basebackup',
      slot: 'cloned',
    })
    await write(primary)
    await eventually(async () => {
      const [sender] = await primary.query(
        'select write_lsn is not null as has_reported from pg_stat_replication',
      )
      expect(sender).toEqual({ has_reported: true })
    })
    await isDisconnected()
    await backup.stop()
    await isDisconnected()
    await standby.start()
    await eventually(async () =>
      expect(await readFollowers(source)).toMatchObject({ cloned: { connected: true, lag: 0 } }),
    )
  })

  it('A standby reconnects before its old connection times out', async () => {
    const link = await openLink(primary)
    await cluster.startStandby({ name: 'back', of: primary, port: link.port })
    const source = createSource(primary)
    await eventually(async () => expect(await readLags(source)).toEqual({ back: 0 }))
    link.dropClients()
    await write(primary)
    await eventually(async () => {
      expect(await primary.query('select from pg_stat_replication')).toHaveLength(2)
      expect(await readLags(source)).toEqual({ back: 0 })
    })
    await primary.query(
      'select pg_terminate_backend(pid) from pg_stat_replication order by backend_start limit 1',
    )
    await eventually(async () =>
      expect(await primary.query('select from pg_stat_replication')).toHaveLength(1),
    )
    expect(await readLags(source)).toEqual({ back: 0 })
    expect((await read(source)).shards[0]).not.toHaveProperty('removed')
  })

  it('The primary of an upstream standby is down when the standby restarts', async () => {
    const gone = await cluster.startPrimary({ name: 'gone' })
    const conf = { recovery_min_apply_delay: '1h' }
    const upstream = await cluster.startStandby({ name: 'upstream', of: gone, conf })
    const last = await cluster.startStandby({ name: 'last', of: upstream })
    // An upstream serves a follower that is ahead of it only within one segment.
    await gone.query('select pg_switch_wal()')
    await write(gone)
    await last.untilCaughtUpWith(gone)
    const sources = [createSource(upstream), createSource(upstream)]
    const [known] = sources as [ReplicationSource]
    await eventually(async () => expect(await readLags(known)).toEqual({ last: 0 }))
    await gone.kill()
    await upstream.restart()
    await eventually(async () => {
      const senders = await upstream.query(
        'select replay_lsn is not null as known from pg_stat_replication',
      )
      expect(senders).toEqual([{ known: true }])
    })
    const [row] = await upstream.query('select pg_last_wal_replay_lsn() - $1::pg_lsn as ahead', [
      '0/0',
    ])
    expect(BigInt(String(row?.['ahead']))).toBeLessThan(await last.position())
    for (const source of sources) {
      const [shard] = (await read(source)).shards
      expect(shard?.followers).toMatchObject([{ replica: 'last', connected: true }])
      expect(shard?.followers[0]).not.toHaveProperty('appliedSeqno')
      expect(shard).not.toHaveProperty('leaderSeqno')
    }
  })
})
