import { once } from 'node:events'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { PassThrough } from 'node:stream'
import { expect, onTestFinished, test, vi } from 'vitest'
import { encodeSegment, TornSegmentError } from '../../docs/examples/wal-shipping/segment.mjs'
import { ship } from '../../docs/examples/wal-shipping/shipper.mjs'
import { Transport } from '../../docs/examples/wal-shipping/transport.mjs'
import { listen } from '../support/http.js'
import {
  append,
  createMachine,
  createTransport,
  segmentFile,
  type Shipment,
} from './wal-shipping-machine.js'

test('a follower applies the number of segments that it is asked for', async () => {
  const { gauge, openLeader, openFollower } = await createMachine()
  const leader = await openLeader()
  const follower = await openFollower()
  follower.connect(createTransport(leader))
  await append(leader, 30)

  await follower.apply(20)

  expect(follower.seqno).toBe(20n)
  expect(follower.get('newest')).toBe('20')
  expect(gauge.lagSeqno('orders')).toBe(10)
})

test('a follower waits for segments that are not written yet', async () => {
  const { gauge, openLeader, openFollower } = await createMachine()
  const leader = await openLeader()
  const follower = await openFollower()
  follower.connect(createTransport(leader))

  const applied = follower.apply(2)
  await append(leader, 1)
  await leader.append({ newest: null })
  await applied

  expect(follower.get('newest')).toBeUndefined()
  expect(gauge.lagSeqno('orders')).toBe(0)
})

test('a slow follower does not slow down the others', async () => {
  const { openLeader, openFollower } = await createMachine()
  const leader = await openLeader()
  const read = vi.spyOn(leader.log, 'read')
  const transport = createTransport(leader)
  const [fast, slow] = [await openFollower('fast'), await openFollower('slow')]
  fast.connect(transport)
  slow.connect(transport)
  await append(leader, 60)

  await Promise.all([fast.apply(60), slow.apply(1)])

  expect([fast.seqno, slow.seqno]).toEqual([60n, 1n])
  // Without backpressure, every segment would have been read twice.
  expect(read.mock.calls.length).toBeLessThan(60 + 40)
  await slow.apply(59)
  expect(slow.get('newest')).toBe('60')
})

test('a follower that connects again gets the segments that it does not have', async () => {
  const { openLeader, openFollower } = await createMachine()
  const leader = await openLeader()
  const follower = await openFollower()
  const shipments: Shipment[] = []
  const transport = createTransport(leader, shipments)
  await append(leader, 10)
  follower.connect(transport)
  await follower.apply(4)

  follower.connect(transport)
  await follower.apply(6)

  expect(follower.seqno).toBe(10n)
  expect(shipments.map(({ after }) => after)).toEqual([0n, 4n])
  await shipments[0]?.ended
})

test('a restarted follower has its state and its lag, and continues', async () => {
  const { gauge, openLeader, openFollower } = await createMachine()
  const leader = await openLeader()
  const transport = createTransport(leader)
  const follower = await openFollower('a')
  follower.connect(transport)
  await leader.append({ first: 'value', second: 'value' })
  await leader.append({ first: null })
  await append(leader, 3)
  await follower.apply(3)
  follower.disconnect()
  gauge.remove('orders', 'a')

  const restarted = await openFollower('a')

  expect([restarted.get('first'), restarted.get('second')]).toEqual([undefined, 'value'])
  expect(gauge.lagSeqno('orders', 'a')).toBe(2)
  restarted.connect(transport)
  await restarted.apply(2)
  expect(restarted.get('newest')).toBe('5')
  expect(gauge.lagSeqno('orders', 'a')).toBe(0)
})

test('a restarted leader ships to the followers that connect again', async () => {
  const { gauge, openLeader, openFollower } = await createMachine()
  const first = await openLeader()
  const transport = createTransport(first)
  const follower = await openFollower()
  follower.connect(transport)
  await append(first, 5)
  await follower.apply(3)
  transport.close()

  const second = await openLeader()
  await append(second, 1)
  follower.connect(createTransport(second))
  await follower.apply(3)

  expect(follower.get('newest')).toBe('6')
  expect(gauge.lagSeqno('orders')).toBe(0)
})

test('when the transport is closed, the follower gets an error and the lag grows', async () => {
  const { gauge, openLeader, openFollower } = await createMachine()
  const leader = await openLeader()
  const follower = await openFollower()
  const transport = createTransport(leader)
  follower.connect(transport)
  await append(leader, 2)
  await follower.apply(2)
  const waiting = expect(follower.apply(1)).rejects.toThrow('Premature close')

  transport.close()

  await waiting
  await expect(follower.apply(1)).rejects.toThrow('the connection is closed')
  expect(() => follower.connect(transport)).toThrow('the transport is closed')
  await append(leader, 3)
  expect(gauge.lagSeqno('orders')).toBe(3)
})

test.for([0, 5])('shipping ends when the connection is closed, with %i to ship', async (count) => {
  const { openLeader } = await createMachine()
  const leader = await openLeader()
  await append(leader, count)
  const read = vi.spyOn(leader.log, 'read')
  const stream = new PassThrough({ objectMode: true })
  const shipment = ship(leader.log, stream, 0n)

  stream.destroy()

  await shipment
  expect(read.mock.calls.length).toBeLessThanOrEqual(1)
})

test('shipping to a closed connection ends', async () => {
  const { openLeader } = await createMachine()
  const leader = await openLeader()
  const stream = new PassThrough({ objectMode: true }).destroy()
  await once(stream, 'close')

  await ship(leader.log, stream, 0n)
})

test('many followers can wait for the next segment', async () => {
  const { openLeader, openFollower } = await createMachine()
  const warn = vi.spyOn(process, 'emitWarning').mockReturnValue()
  onTestFinished(() => warn.mockRestore())
  const leader = await openLeader()
  const transport = createTransport(leader)
  const followers = await Promise.all(Array.from({ length: 12 }, (_, n) => openFollower(`${n}`)))
  const applied = followers.map((follower) => {
    follower.connect(transport)
    return follower.apply(2)
  })

  await append(leader, 2)
  await Promise.all(applied)

  expect(warn).not.toHaveBeenCalled()
})

test('a segment out of order is not applied', async () => {
  const { gauge, openFollower } = await createMachine()
  const follower = await openFollower()
  follower.connect(new Transport((stream) => stream.write(encodeSegment(2n, { key: 'value' }))))

  await expect(follower.apply(1)).rejects.toThrow('expected segment 1, got 2')

  expect(follower.get('key')).toBeUndefined()
  expect(gauge.applied('orders').load()).toBe(0n)
})

test('a damaged segment is not applied', async () => {
  const { leaderFolder, openLeader, openFollower } = await createMachine()
  const leader = await openLeader()
  await append(leader, 2)
  const damaged = await readFile(segmentFile(leaderFolder, 1))
  damaged[damaged.length - 2] = 'x'.charCodeAt(0)
  await writeFile(segmentFile(leaderFolder, 1), damaged)
  const follower = await openFollower()
  follower.connect(createTransport(leader))

  await expect(follower.apply(1)).rejects.toThrow(TornSegmentError)

  expect([follower.seqno, follower.get('newest')]).toEqual([0n, undefined])
})

test('a follower whose leader lost segments is refused, with a negative lag', async () => {
  const { gauge, leaderFolder, openLeader, openFollower } = await createMachine()
  const leader = await openLeader()
  const follower = await openFollower()
  follower.connect(createTransport(leader))
  await append(leader, 3)
  await follower.apply(3)
  await rm(segmentFile(leaderFolder, 3))

  const shipments: Shipment[] = []
  follower.connect(createTransport(await openLeader(), shipments))
  await vi.waitUntil(() => shipments.length > 0)
  await shipments[0]?.ended // refused, while the follower does not read

  expect(gauge.lagSeqno('orders')).toBe(-1)
  await expect(follower.apply(1)).rejects.toThrow("but the leader's log ends at 2")
})

test('a follower that is not connected cannot apply', async () => {
  const { openFollower } = await createMachine()

  await expect((await openFollower()).apply(1)).rejects.toThrow('not connected')
})

test('the program prints the lag before, half-way and after', async () => {
  const freePort = await listen(() => undefined)
  await freePort.close()
  vi.stubEnv('PORT', new URL(freePort.url).port)
  const log = vi.spyOn(console, 'log').mockReturnValue()
  onTestFinished(() => {
    log.mockRestore()
    vi.unstubAllEnvs()
  })

  await import('../../docs/examples/wal-shipping/main.mjs')

  const lines = log.mock.calls.map(([line]) => String(line))
  expect(lines.filter((line) => !line.startsWith('#'))).toEqual(
    [100, 50, 0].map((lag): unknown =>
      expect.stringMatching(new RegExp(`^replication_lag_seqno\\{shard="orders".*\\} ${lag}$`)),
    ),
  )
})
