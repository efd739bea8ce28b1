import { readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import {
  decodeSegment,
  encodeSegment,
  TornSegmentError,
} from '../../docs/examples/wal-shipping/segment.mjs'
import { append, createMachine, segmentFile } from './wal-shipping-machine.js'

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
