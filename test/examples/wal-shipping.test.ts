import { readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { PassThrough } from 'node:stream'
import { expect, onTestFinished, test, vi } from 'vitest'
import {
  decodeSegment,
  encodeSegment,
  TornSegmentError,
} from '../../docs/examples/wal-shipping/segment-log.mjs'
import { ship, Transport } from '../../docs/examples/wal-shipping/shipping.mjs'
import { listen } from '../support/http.js'
import {
  append,
  createMachine,
  createTransport,
  segmentFile,
  type Shipment,
} from './wal-shipping-machine.js'

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

test('a segment that is incomplete or damaged is torn', () => {
  const changes = { key: 'välue', gone: null }
  const segment = encodeSegment(2n ** 64n - 1n, changes)

  expect(decodeSegment(segment)).toEqual({ seqno: 2n ** 64n - 1n, changes })
  for (let length = 0; length < segment.length; length++) {
    expect(() => decodeSegment(segment.subarray(0, length))).toThrow(TornSegmentError)
    // A crash can also leave a file of the right length without its content.
    const zeroed = Buffer.alloc(segment.length)
    segment.copy(zeroed, 0, 0, length)
    expect(() => decodeSegment(zeroed)).toThrow(TornSegmentError)
  }
  for (let index = 0; index < segment.length; index++) {
    const damaged = Buffer.from(segment)
    damaged.writeUInt8(damaged.readUInt8(index) ^ 1, index)
    expect(() => decodeSegment(damaged)).toThrow(TornSegmentError)
  }
  expect(() => decodeSegment(Buffer.concat([segment, segment]))).toThrow(TornSegmentError)
})

test('a leader writes segments in the order of the calls', async () => {
  const { gauge, leaderFolder, openLeader } = await createMachine()
  const leader = await openLeader()

  const seqnos = await Promise.all(['a', 'b', 'c'].map((value) => leader.append({ value })))

  expect(seqnos).toEqual([1n, 2n, 3n])
  expect(gauge.leader('orders').load()).toBe(3n)
  for (const [seqno, value] of ['a', 'b', 'c'].entries()) {
    const segment = decodeSegment(await readFile(segmentFile(leaderFolder, seqno + 1)))
    expect(segment).toEqual({ seqno: BigInt(seqno + 1), changes: { value } })
  }
})

test('a reopened leader continues after its newest segment', async () => {
  const { gauge, openLeader } = await createMachine()
  await append(await openLeader(), 12)
  gauge.remove('orders')

  const leader = await openLeader()

  expect(gauge.leader('orders').load()).toBe(12n)
  await expect(leader.append({})).resolves.toBe(13n)
})

test.for([0, 5, 20])(
  'a reopened leader replaces a segment that a crash tore after %i bytes',
  async (length) => {
    const { gauge, leaderFolder, openLeader } = await createMachine()
    await append(await openLeader(), 3)
    await truncate(segmentFile(leaderFolder, 3), length)
    gauge.remove('orders')

    const leader = await openLeader()

    expect(gauge.leader('orders').load()).toBe(2n)
    await expect(leader.append({ key: 'again' })).resolves.toBe(3n)
    expect(decodeSegment(await leader.log.read(3n)).changes).toEqual({ key: 'again' })
  },
)

test('a log with a hole is not opened', async () => {
  const { leaderFolder, openLeader } = await createMachine()
  await append(await openLeader(), 3)
  await rm(segmentFile(leaderFolder, 2))

  await expect(openLeader()).rejects.toThrow('expected segments 1 to 3, found only 2')
})

test('a leader whose disk fails writes nothing more until it is reopened', async () => {
  const { gauge, leaderFolder, openLeader } = await createMachine()
  const leader = await openLeader()
  await append(leader, 2)
  // A file with the name of the next segment.
  await writeFile(segmentFile(leaderFolder, 3), '')

  await expect(leader.append({})).rejects.toThrow('EEXIST')
  await expect(leader.append({})).rejects.toThrow('EEXIST')

  expect(gauge.leader('orders').load()).toBe(2n)
  expect(await readdir(leaderFolder)).toHaveLength(3)
  await expect((await openLeader()).append({})).resolves.toBe(3n)
})
