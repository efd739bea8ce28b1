import { postgresSource } from 'opentelemetry-instrumentation-replication-lag/sources/postgres'
import { describe, expect, it } from 'vitest'
import { eventually } from '../support/eventually.js'
import { readLags, TestCluster, write } from '../support/postgres.js'

describe('postgresSource on a primary', () => {
  it('reports every streaming follower in bytes of WAL behind the primary’s own position', async () => {
    await using cluster = await TestCluster.create()
    const primary = await cluster.startPrimary()
    const [paused, current] = await Promise.all([
      cluster.startStandby({ name: 's1', of: primary, slot: 'slot_1' }),
      cluster.startStandby({ name: 's2', of: primary }),
    ])
    const source = cluster.source(primary)
    await paused.pauseReplay()
    const stoppedAt = await paused.position()
    await write(primary)
    await current.untilCaughtUpWith(primary)
    await eventually(async () => {
      const written = await primary.position()
      expect(await readLags(source)).toEqual({ slot_1: Number(written - stoppedAt), s2: 0 })
      expect(written - stoppedAt).toBeGreaterThan(100_000n)
    })
    await paused.resumeReplay()
    await eventually(async () => expect(await readLags(source)).toEqual({ slot_1: 0, s2: 0 }))
  })

  it('tells positions as bytes since 0/0', async () => {
    await using cluster = await TestCluster.create()
    const primary = await cluster.startPrimary()
    await cluster.startStandby({ name: 's1', of: primary })
    const before = await primary.position()
    const { shards } = await cluster.source(primary).read(AbortSignal.timeout(10_000))
    const after = await primary.position()
    expect(shards).toHaveLength(1)
    expect(shards[0]?.shard).toBe('pg')
    expect(shards[0]?.leaderSeqno).toBeGreaterThanOrEqual(before)
    expect(shards[0]?.leaderSeqno).toBeLessThanOrEqual(after)
  })

  it('goes on measuring a stopped follower by its slot, and drops one that has none', async () => {
    await using cluster = await TestCluster.create()
    const primary = await cluster.startPrimary()
    const [slotted, slotless] = await Promise.all([
      cluster.startStandby({ name: 's1', of: primary, slot: 'slot_1' }),
      cluster.startStandby({ name: 's2', of: primary }),
    ])
    const source = cluster.source(primary)
    await Promise.all([slotted.stop(), slotless.stop()])
    await write(primary)
    await eventually(async () => {
      const lags = await readLags(source)
      expect(Object.keys(lags)).toEqual(['slot_1'])
      expect(lags['slot_1']).toBeGreaterThan(100_000)
    })
    const { shards } = await source.read(AbortSignal.timeout(10_000))
    expect(shards[0]?.followers).toMatchObject([{ replica: 'slot_1', connected: false }])
    await Promise.all([slotted.start(), slotless.start()])
    await eventually(async () => expect(await readLags(source)).toEqual({ slot_1: 0, s2: 0 }))
  })

  it('does not take for replayed what a standby had only received when it stopped', async () => {
    await using cluster = await TestCluster.create()
    const primary = await cluster.startPrimary()
    const standby = await cluster.startStandby({ name: 's1', of: primary, slot: 'slot_1' })
    const source = cluster.source(primary)
    await standby.pauseReplay()
    await write(primary)
    const behind = async () => (await readLags(source))['slot_1']
    await eventually(async () => expect(await behind()).toBeGreaterThan(100_000))
    await eventually(async () => {
      const [slot] = await primary.query(
        'select (pg_current_wal_lsn() - restart_lsn)::int as held from pg_replication_slots',
      )
      expect(slot?.['held']).toBe(0)
    })
    await standby.stop()
    await eventually(async () => {
      const { shards } = await source.read(AbortSignal.timeout(10_000))
      expect(shards[0]?.followers).toMatchObject([{ connected: false }])
    })
    expect(await behind()).toBeGreaterThan(100_000)
  })

  it('gives two followers of one name distinct names, which they keep over a reconnection', async () => {
    await using cluster = await TestCluster.create()
    const primary = await cluster.startPrimary()
    const source = cluster.source(primary)
    const first = await cluster.startStandby({ name: 's1', of: primary, applicationName: 'same' })
    expect(Object.keys(await readLags(source))).toEqual(['same'])
    const second = await cluster.startStandby({ name: 's2', of: primary, applicationName: 'same' })
    const names = ['same', 'same@127.0.0.1']
    await eventually(async () => expect(Object.keys(await readLags(source)).sort()).toEqual(names))
    await second.pauseReplay()
    await first.stop()
    await write(primary)
    await eventually(async () => {
      const lags = await readLags(source)
      expect(Object.keys(lags)).toEqual(['same@127.0.0.1'])
      expect(lags['same@127.0.0.1']).toBeGreaterThan(100_000)
    })
    await first.start()
    await eventually(async () => {
      const lags = await readLags(source)
      expect(lags['same']).toBe(0)
      expect(lags['same@127.0.0.1']).toBeGreaterThan(100_000)
    })
  })

  it('says that there is no follower where there is none', async () => {
    await using cluster = await TestCluster.create()
    const reading = await cluster
      .source(await cluster.startPrimary())
      .read(AbortSignal.timeout(10_000))
    expect(reading.shards).toMatchObject([{ shard: 'pg', followers: [] }])
    expect(reading.note).toBe('a primary that no follower streams from')
  })

  it('goes on after a restart of the primary', async () => {
    await using cluster = await TestCluster.create()
    const primary = await cluster.startPrimary()
    await cluster.startStandby({ name: 's1', of: primary })
    const source = cluster.source(primary)
    expect(Object.keys(await readLags(source))).toEqual(['s1'])
    await primary.stop()
    await expect(readLags(source)).rejects.toThrow()
    await primary.start()
    await write(primary)
    await eventually(async () => expect(await readLags(source)).toEqual({ s1: 0 }))
  })

  it('takes a connected Client as well as a Pool', async () => {
    await using cluster = await TestCluster.create()
    const primary = await cluster.startPrimary()
    await cluster.startStandby({ name: 's1', of: primary })
    const source = postgresSource({ client: await cluster.client(primary), shard: 7 })
    expect(source.name).toBe('postgres:7')
    expect(Object.keys(await readLags(source))).toEqual(['s1'])
    expect(Object.keys(await readLags(source))).toEqual(['s1'])
  })
})

describe('postgresSource on a standby', () => {
  it('reports the followers that stream from it, against its own newest position', async () => {
    await using cluster = await TestCluster.create()
    const primary = await cluster.startPrimary()
    const middle = await cluster.startStandby({ name: 'middle', of: primary })
    const end = await cluster.startStandby({ name: 'end', of: middle })
    const source = cluster.source(middle)
    await end.pauseReplay()
    await write(primary)
    await middle.untilCaughtUpWith(primary)
    await eventually(async () => {
      const gap = (await middle.position()) - (await end.position())
      expect(gap).toBeGreaterThan(100_000n)
      expect(await readLags(source)).toEqual({ end: Number(gap) })
    })
    await end.resumeReplay()
    await eventually(async () => expect(await readLags(source)).toEqual({ end: 0 }))
  })

  it('measures against what it has received, not against what it has replayed itself', async () => {
    await using cluster = await TestCluster.create()
    const primary = await cluster.startPrimary()
    const middle = await cluster.startStandby({ name: 'middle', of: primary })
    await cluster.startStandby({ name: 'end', of: middle })
    const source = cluster.source(middle)
    await middle.pauseReplay()
    const stoppedAt = await middle.position()
    await write(primary)
    const written = await primary.position()
    await eventually(async () => {
      const { shards } = await source.read(AbortSignal.timeout(10_000))
      expect(shards[0]?.leaderSeqno).toBeGreaterThanOrEqual(written)
    })
    expect(await middle.position()).toBe(stoppedAt)
  })

  it('reports nothing of a plain one, and says why', async () => {
    await using cluster = await TestCluster.create()
    const primary = await cluster.startPrimary()
    const standby = await cluster.startStandby({ name: 's1', of: primary })
    const reading = await cluster.source(standby).read(AbortSignal.timeout(10_000))
    expect(reading.shards).toMatchObject([{ followers: [] }])
    expect(reading.note).toMatch(
      /^a standby that no follower streams from; its own lag is reported by/,
    )
  })

  it('tells another epoch once it is promoted, and the same one over a restart', async () => {
    await using cluster = await TestCluster.create()
    const primary = await cluster.startPrimary()
    const standby = await cluster.startStandby({ name: 's1', of: primary })
    // Not a superuser, and nothing but pg_monitor.
    await primary.query('create role monitor login in role pg_monitor')
    await standby.untilCaughtUpWith(primary)
    const [onPrimary, onStandby] = [primary, standby].map((node) => {
      const source = cluster.source(node, { user: 'monitor' })
      return async () => (await source.read(AbortSignal.timeout(10_000))).shards[0]?.epoch
    })
    const first = await onPrimary?.()
    expect(first).toMatch(/^\d{19}\/1$/)
    expect(await onStandby?.()).toBe(first)
    await primary.restart()
    expect(await onPrimary?.()).toBe(first)
    await standby.promote()
    expect(await onStandby?.()).toBe(first?.replace(/1$/, '2'))
    expect(await onPrimary?.()).toBe(first)
  })

  it('tells the same epoch while the node that it follows restarts', async () => {
    await using cluster = await TestCluster.create()
    const primary = await cluster.startPrimary()
    const upstream = await cluster.startStandby({ name: 'upstream', of: primary })
    const middle = await cluster.startStandby({ name: 'middle', of: upstream })
    await cluster.startStandby({ name: 'end', of: middle })
    const source = cluster.source(middle)
    const epoch = async () => (await source.read(AbortSignal.timeout(10_000))).shards[0]?.epoch
    await upstream.promote()
    await write(upstream)
    await eventually(async () => expect(await epoch()).toMatch(/\/2$/))
    await upstream.stop()
    await eventually(async () =>
      expect(await middle.query('select received_tli from pg_stat_wal_receiver')).toEqual([]),
    )
    expect(await epoch()).toMatch(/\/2$/)
  })

  it('reports as a primary once it is promoted', async () => {
    await using cluster = await TestCluster.create()
    const primary = await cluster.startPrimary()
    const middle = await cluster.startStandby({ name: 'middle', of: primary })
    const end = await cluster.startStandby({ name: 'end', of: middle })
    const [old, promoted] = [cluster.source(primary), cluster.source(middle)]
    await middle.promote()
    await write(middle)
    await end.untilCaughtUpWith(middle)
    await eventually(async () => expect(await readLags(promoted)).toEqual({ end: 0 }))
    await eventually(async () => expect(await readLags(old)).toEqual({}))
  })
})
