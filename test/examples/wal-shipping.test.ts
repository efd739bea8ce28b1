import { rm, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { ReplicationLagGauge } from 'opentelemetry-instrumentation-replication-lag'
import { expect, onTestFinished, test, vi } from 'vitest'
import { Follower } from '../../docs/examples/wal-shipping/follower.mjs'
import { Leader } from '../../docs/examples/wal-shipping/leader.mjs'
import {
  decodeSegment,
  encodeSegment,
  TornSegmentError,
} from '../../docs/examples/wal-shipping/segment-log.mjs'
import { ship, Transport } from '../../docs/examples/wal-shipping/shipping.mjs'
import { makeFolder } from '../support/built-package.js'
import { listen } from '../support/http.js'

/** One machine. Its nodes can be opened again in the same folders. */
async function createMachine(shard = 'orders') {
  const folder = await makeFolder()
  const gauge = new ReplicationLagGauge()
  return {
    gauge,
    leaderFolder: join(folder, 'leader'),
    openLeader: () => Leader.open(join(folder, 'leader'), gauge.leader(shard)),
    openFollower: (replica?: string) =>
      Follower.open(join(folder, `follower-${replica ?? ''}`), gauge.applied(shard, replica)),
  }
}

interface Shipment {
  readonly after: bigint
  readonly ended: Promise<void>
}

function createTransport(leader: Leader, shipments: Shipment[] = []) {
  const transport = new Transport((stream, after) => {
    shipments.push({ after, ended: ship(leader.log, stream, after) })
  })
  onTestFinished(() => transport.close())
  return transport
}

async function append(leader: Leader, count: number) {
  for (let n = 0; n < count; n++) {
    await leader.append({ newest: `${leader.log.seqno + 1n}` })
  }
}

function segmentFile(folder: string, seqno: number) {
  return join(folder, `${String(seqno).padStart(20, '0')}.segment`)
}

test('a follower continues after its last segment, with its state and its lag', async () => {
  const { gauge, openLeader, openFollower } = await createMachine()
  const leader = await openLeader()
  const follower = await openFollower('a')
  const shipments: Shipment[] = []
  const transport = createTransport(leader, shipments)
  await leader.append({ first: 'value', second: 'value' })
  await leader.append({ first: null })
  await append(leader, 8)
  follower.connect(transport)
  await follower.apply(4)
  follower.connect(transport)
  await follower.apply(3)
  follower.disconnect()
  gauge.remove('orders', 'a')

  const restarted = await openFollower('a')

  expect([restarted.get('first'), restarted.get('second')]).toEqual([undefined, 'value'])
  expect(gauge.lagSeqno('orders', 'a')).toBe(3)
  restarted.connect(transport)
  // One segment is not written yet.
  const applied = restarted.apply(4)
  await append(leader, 1)
  await applied
  expect(restarted.get('newest')).toBe('11')
  expect(gauge.lagSeqno('orders', 'a')).toBe(0)
  expect(shipments.map(({ after }) => after)).toEqual([0n, 4n, 7n])
  await shipments[0]?.ended
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
  for (let index = 0; index < segment.length; index++) {
    const short = segment.subarray(0, index)
    // A crash can also leave a file of the right length without its content.
    const zeroed = Buffer.alloc(segment.length)
    short.copy(zeroed)
    const damaged = Buffer.from(segment)
    damaged.writeUInt8(damaged.readUInt8(index) ^ 1, index)
    for (const torn of [short, zeroed, damaged])
      expect(() => decodeSegment(torn)).toThrow(TornSegmentError)
  }
  expect(() => decodeSegment(Buffer.concat([segment, segment]))).toThrow(TornSegmentError)
})

test.for([
  { crash: 'no crash', length: undefined, newest: 12n },
  { crash: 'a crash before the first byte', length: 0, newest: 11n },
  { crash: 'a crash after 5 bytes', length: 5, newest: 11n },
  { crash: 'a crash after 20 bytes', length: 20, newest: 11n },
])(
  'a reopened leader continues after its newest whole segment: $crash',
  async ({ length, newest }) => {
    const { gauge, leaderFolder, openLeader } = await createMachine()
    await append(await openLeader(), 12)
    if (length !== undefined) await truncate(segmentFile(leaderFolder, 12), length)
    gauge.remove('orders')

    const leader = await openLeader()

    expect(gauge.leader('orders').load()).toBe(newest)
    await expect(leader.append({ key: 'again' })).resolves.toBe(newest + 1n)
    expect(decodeSegment(await leader.log.read(newest + 1n)).changes).toEqual({ key: 'again' })
  },
)
