import {
  ReplicationLagMetricProducer,
  type FollowerReading,
  type ReplicationSource,
} from 'opentelemetry-instrumentation-replication-lag'
import { setTimeout } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, type TestContext } from 'vitest'
import type { Gate } from '../servers/gate.mjs'
import { Servers } from '../servers/servers.mjs'
import type { Connected, ConnectOptions, System, SystemKind } from '../servers/system.js'
import { recordDiag } from '../support/diag.js'
import { eventually } from '../support/eventually.js'
import { pointsOf } from '../support/polling.js'

export interface ContractOptions {
  /** The client library. Default: the only one. */
  readonly client?: string
  /** Whether a count that is written raises the leader's position by exactly that. Default: true. */
  readonly countsWrites?: boolean
  /** What can be wrong with the credentials, and what the error then says. Default: there are none. */
  readonly faults?: Partial<Record<NonNullable<ConnectOptions['fault']>, RegExp>>
  /** How often it is read to see what a read keeps. Default: 500. */
  readonly reads?: number
  /** How many questions a read has under way at the leader at once, in pieces of data. Default: 1. */
  readonly questions?: number
  /** Whether the source asks all nodes, so that it finds the new leader after a failover by itself. Default: false. */
  readonly findsLeader?: boolean
  /** Whether a follower that is killed stays connected, because its end cannot be noticed. Default: false. */
  readonly keepsKilled?: boolean
  /** Whether the system has other nodes that can take over. Default: true. */
  readonly failsOver?: boolean
  /** What is logged when two nodes claim to lead. Default: not tested. */
  readonly claims?: RegExp
  /** Which cases cannot be shown with the system, and why. */
  readonly cannot?: Partial<Record<Case, string>>
}

/** What the servers of a system, or its nature, may not be able to show. */
export type Case = 'unknown' | 'pause' | 'gates' | 'join' | 'wipe' | 'claim'

/** Starts a system for the tests of a file. It ends after them, even when they fail. */
export function useStarted<Started>(start: (servers: Servers) => Promise<Started>): () => Started {
  let started: Started | undefined
  let servers: Servers | undefined
  beforeAll(async () => {
    servers = await Servers.create()
    started = await start(servers)
  }, 120_000)
  afterAll(() => servers?.stop())
  return () => started as Started
}

/**
 * Describes what needs the servers of a system. Where they are not installed, it is skipped and says how to install them. If
 * `REQUIRE_SERVERS` is set, as in CI, it fails instead. Servers of Debian unstable may be missing: it does not always have them.
 */
export async function describeInstalled(
  kind: Pick<SystemKind, 'title' | 'install' | 'isInstalled'>,
  run: () => void,
): Promise<void> {
  const isMissing = !(await kind.isInstalled())
  const mayBeMissing =
    !process.env['REQUIRE_SERVERS'] || kind.install.includes('unpack-unstable.sh')
  const title = isMissing ? `${kind.title} is not installed: ${kind.install}` : kind.title
  describe.skipIf(isMissing && mayBeMissing)(title, run)
}

/** What every source does, against a real server. */
export function describeContract(kind: SystemKind, options: ContractOptions = {}): void {
  const { client, countsWrites = true, faults = {}, questions = 1, findsLeader = false } = options
  const {
    reads = 500,
    keepsKilled = false,
    failsOver = true,
    claims = /lead/,
    cannot = {},
  } = options
  const title = client === undefined ? kind.title : `${kind.title} through ${client}`

  describe(`source of ${title}`, () => {
    const current = useStarted<System>((servers) => kind.start(servers))

    const connect = async (more: ConnectOptions = {}): Promise<Connected> => {
      const connected = await current().connect({
        ...(client !== undefined && { client }),
        ...more,
      })
      onTestFinished(() => connected.close())
      return connected
    }

    /** Waits until a source reports the true lag of a follower, and that is as expected. */
    const untilLag = async (
      source: ReplicationSource,
      follower: string,
      isExpected: (lag: number) => boolean,
    ): Promise<void> => {
      await eventually(async () => {
        const system = current()
        const before = await lagOf(system, follower)
        const found = await readFollower(source, system.shard, follower)
        // What the system writes by itself meanwhile would make the comparison unfair.
        expect(await lagOf(system, follower)).toBe(before)
        expect(found.lag).toBe(before)
        expect(found.lag).toSatisfy(isExpected)
      })
    }
    /** A case that the system shows, unless it cannot. */
    const itShows = (name: Case, title: string, run: (skip: TestContext['skip']) => unknown) => {
      const reason = cannot[name]
      if (reason === undefined) it(title, ({ skip }) => run(skip))
      else it.skip(`${title}: ${reason}`)
    }

    const untilCaughtUp = (polling: Polling, names: readonly string[] = current().followers) =>
      eventually(() => {
        for (const name of names)
          expect(polling.follower(name)).toMatchObject({ connected: true, lagSeqno: 0 })
      })

    const isCaughtUp = (lag: number) => lag === 0
    const isBehindBy = (count: number) => (lag: number) =>
      countsWrites ? lag === count : lag > count

    it('reports followers that have caught up as connected, with a lag of 0', async () => {
      const { source } = await connect()
      await current().write(10)
      for (const follower of current().followers) {
        await untilLag(source, follower, isCaughtUp)
        expect(await readFollower(source, current().shard, follower)).toMatchObject({
          connected: true,
        })
      }
      const { shards } = await source.read(AbortSignal.timeout(10_000))
      const names = shards.flatMap(({ followers }) => followers.map(({ replica }) => replica))
      expect(names).not.toContain(current().leaderName)
    })

    it('reports exactly how far a follower is behind that was cut off, and 0 when it has caught up', async () => {
      const system = current()
      const [first, second] = system.followers
      const { source } = await connect()
      await untilLag(source, first, isCaughtUp)
      await system.cut(first)
      await system.write(100)
      await untilLag(source, first, isBehindBy(100))
      await untilLag(source, second, isCaughtUp)
      await system.mend(first)
      await untilLag(source, first, isCaughtUp)
    })

    it('keeps a follower that was killed, disconnected and ever further behind, until it is back', async () => {
      const system = current()
      const [, second] = system.followers
      const { source } = await connect()
      await untilLag(source, second, isCaughtUp)
      const polling = startPolling(source)
      await untilCaughtUp(polling, [second])
      await system.kill(second)
      await system.write(50)
      await eventually(() => {
        const seen = polling.follower(second)
        expect(seen?.connected).toBe(keepsKilled)
        expect(seen?.lagSeqno).toSatisfy((lag: number) => lag >= 50)
      })
      await system.restart(second)
      await untilCaughtUp(polling, [second])
    })

    it('has one question at a time under way while the leader is frozen, and recovers', async () => {
      const system = current()
      const [first] = system.followers
      const { source, gate } = await connect()
      await untilLag(source, first, isCaughtUp)
      const polling = startPolling(source)
      await eventually(async () => expect(await polling.isUp()).toBe(true))
      await system.freeze()
      let most = 0
      try {
        await eventually(async () => expect(await polling.isUp()).toBe(false))
        const start = polling.reads
        await eventually(() => {
          most = Math.max(most, gate.unanswered)
          expect(polling.reads).toBeGreaterThan(start + 4)
        })
      } finally {
        await system.thaw()
      }
      expect(most).toBeLessThanOrEqual(questions)
      await eventually(async () => expect(await polling.isUp()).toBe(true))
      // Meanwhile the others may have elected another leader.
      await eventually(() =>
        expect(polling.follower(system.followers[0])).toMatchObject({ lagSeqno: 0 }),
      )
    })

    itShows('unknown', 'reports no number while no leader can be read', async (skip) => {
      const system = current()
      const [, second] = system.followers
      // Without most of its nodes, a system elects no other leader.
      const isMore = system.elects === true
      skip(isMore && !system.pause, NOT_YET)
      const { source, gate } = await connect()
      const polling = startPolling(source)
      await untilCaughtUp(polling)
      const { connections } = gate
      await system.freeze()
      if (isMore) await system.pause?.(second)
      try {
        await eventually(async () => {
          expect(await polling.isUp()).toBe(false)
          // What was read last is shown a little longer.
          expect(polling.followers()).toEqual([])
        })
      } finally {
        await Promise.all([system.thaw(), isMore && system.resume?.(second)])
      }
      await untilCaughtUp(polling)
      // Questions that were given up may have connected again. One may be under way.
      await eventually(() => expect(gate.connections).toBeLessThanOrEqual(connections + 1))
    })

    const pause: Hang = ({ system, name }) => system.pause?.(name)
    const resume: Hang = ({ system, name }) => system.resume?.(name)
    describe.each<[string, 'pause' | 'gates', Hang, Hang]>([
      ['is frozen', 'pause', pause, resume],
      ['does not answer its clients', 'gates', gateOf('close'), gateOf('reopen')],
      ['is 300 ms away from its clients', 'gates', gateOf('delay', 150), gateOf('delay', 0)],
    ])('while a follower %s', (_, needs, hang, end) => {
      itShows(needs, 'reports the lag of the other as of 100 ms ago at most', async (skip) => {
        const system = current()
        const [first, second] = system.followers
        const { source, gates } = await connect()
        const gate = gates?.[second]
        skip(needs === 'pause' ? !system.pause : !gate, NOT_YET)
        const polling = startPolling(source, { pollIntervalMillis: 200, pollTimeoutMillis: 2000 })
        await untilCaughtUp(polling)
        const writing = await startWriting(system)
        const hanging = { system, name: second, gate }
        await hang(hanging)
        const lags: number[] = []
        try {
          const start = polling.reads
          // From the second reading on.
          polling.onRead(() => {
            const seen = polling.follower(first)
            expect.soft(seen?.connected).toBe(true)
            if (polling.reads > start + 2) lags.push(seen?.lagSeqno ?? NaN)
          })
          await eventually(() => expect(lags.length).toBeGreaterThan(15))
        } finally {
          await end(hanging)
        }
        const perMilli = await writing.stop()
        expect(median(lags)).toBeLessThanOrEqual(100 * perMilli)
        expect(Math.min(...lags)).toBeGreaterThanOrEqual(0)
        await untilCaughtUp(polling)
      })
    })

    itShows(
      'join',
      'finds a follower that joins, and forgets one that is removed',
      async (skip) => {
        const system = current()
        skip(!system.addFollower || !system.removeFollower, NOT_YET)
        const { source } = await connect()
        const polling = startPolling(source)
        await untilCaughtUp(polling)
        const joined = (await system.addFollower?.()) ?? ''
        await untilCaughtUp(polling, [joined])
        await system.removeFollower?.(joined)
        const start = polling.reads
        // The one in flight may have begun before.
        await eventually(() => expect(polling.reads).toBeGreaterThan(start + 2))
        expect(polling.follower(joined)).toBeUndefined()
        await untilCaughtUp(polling)
      },
    )

    itShows('wipe', 'reports a follower that is built again', async (skip) => {
      const system = current()
      skip(!system.wipe, NOT_YET)
      const { source } = await connect()
      const polling = startPolling(source)
      await system.write(100)
      await untilCaughtUp(polling)
      const [first] = system.followers
      const lags: number[] = []
      polling.onRead(() => lags.push(polling.follower(first)?.lagSeqno ?? 0))
      await system.wipe?.(first)
      await untilCaughtUp(polling)
      await system.write(10)
      await untilCaughtUp(polling)
      expect(Math.min(...lags)).toBeGreaterThanOrEqual(0)
    })

    itShows('claim', 'logs once that two nodes lead, and reports no wrong lag', async (skip) => {
      const system = current()
      skip(!system.claimLead, NOT_YET)
      const [first, second] = system.followers
      const { source } = await connect()
      const polling = startPolling(source)
      await untilCaughtUp(polling)
      const logged = recordDiag()
      onTestFinished(() => logged.stop())
      await system.claimLead?.(second)
      await system.write(20)
      const start = polling.reads
      await eventually(() => {
        expect(polling.reads).toBeGreaterThan(start + 10)
        expect(polling.follower(first)).toMatchObject({ connected: true, lagSeqno: 0 })
      })
      const { connected = false, lagSeqno } = polling.follower(second) ?? {}
      expect({ connected, lagSeqno }).not.toMatchObject({ connected: true, lagSeqno: 0 })
      expect(logged.messages.filter((line) => claims.test(line))).toHaveLength(1)
      await system.followAgain?.(second)
      await untilCaughtUp(polling)
    })

    for (const [fault, message] of Object.entries(faults)) {
      it(`reports no lag with a ${fault}, and says so once`, async () => {
        const logged = recordDiag()
        onTestFinished(() => logged.stop())
        const { source } = await connect({ fault: fault as keyof typeof faults })
        const polling = startPolling(source)
        await eventually(() => expect(polling.reads).toBeGreaterThan(2))
        expect(await polling.isUp()).toBe(false)
        expect(polling.followers()).toEqual([])
        const errors = logged.messages.filter((line) => message.test(line))
        expect(errors).toHaveLength(1)
        expect(errors[0]).toContain(source.name)
      })
    }

    it(`keeps no connection, handle or memory in ${reads} reads`, async () => {
      const { source, gate } = await connect()
      const readMany = async (count: number) => {
        // The timers of signals with a timeout would count as memory that is kept.
        const { signal } = new AbortController()
        for (let i = 0; i < count; i++) await source.read(signal)
      }
      const measure = () => {
        globalThis.gc?.()
        const { heapUsed } = process.memoryUsage()
        return { heapUsed, handles: process.getActiveResourcesInfo().length }
      }
      await readMany(reads / 5)
      const before = measure()
      const connections = gate.connections
      await readMany(reads)
      expect(gate.connections).toBeLessThanOrEqual(connections)
      // Clients free some of it only in a later turn of the event loop.
      await eventually(() => {
        const after = measure()
        expect(after.handles).toBeLessThanOrEqual(before.handles + 2)
        expect(after.heapUsed - before.heapUsed).toBeLessThan(1_000_000)
      })
    })

    if (!failsOver) return
    it('reports no lag of 0 after the leader was killed, and the right one after the failover', async () => {
      const system = current()
      const [first] = system.followers
      const { source } = await connect()
      await untilLag(source, first, isCaughtUp)
      const polling = startPolling(source)
      await untilCaughtUp(polling)
      const other = (await system.failOver?.()) ?? ''
      const { source: next } = await connect()
      await untilLag(next, other, isCaughtUp)
      await system.cut(other)
      await system.write(20)
      await untilLag(next, other, isBehindBy(20))
      await system.mend(other)
      await untilLag(next, other, isCaughtUp)
      if (findsLeader) {
        // The first source has followed, and the leader is not its own follower.
        for (const each of system.followers) await untilLag(source, each, isCaughtUp)
        await untilCaughtUp(polling)
        expect(polling.followers().map(({ replica }) => replica)).not.toContain(system.leaderName)
      }
      if (next === source || findsLeader) return
      // A source of the old leader fails, or knows nothing of the new leader's followers. It must not call them caught up.
      const reading = await source.read(AbortSignal.timeout(5_000)).catch(() => undefined)
      const followers = reading?.shards.flatMap(({ followers }) => followers) ?? []
      expect(followers.filter((follower) => isKnownAsCurrent(follower))).toEqual([])
    })
  })
}

function isKnownAsCurrent({ connected, appliedSeqno }: FollowerReading): boolean {
  return connected !== false && appliedSeqno !== undefined
}

async function lagOf(system: System, follower: string): Promise<number> {
  const applied = await system.position(follower)
  return Number((await system.position()) - applied)
}

/** Reads a source once, and returns one follower with its lag. */
async function readFollower(source: ReplicationSource, shard: string, follower: string) {
  const { shards } = await source.read(AbortSignal.timeout(10_000))
  const found = shards.find((each) => String(each.shard) === shard)
  const reading = found?.followers.find(({ replica }) => String(replica) === follower)
  if (!found || !reading) throw new Error(`${follower} is not in the reading`)
  const { appliedSeqno, connected = true, comparedWith } = reading
  const { leaderSeqno = 0 } = comparedWith ?? found
  const lag = appliedSeqno === undefined ? NaN : Number(BigInt(leaderSeqno) - BigInt(appliedSeqno))
  return { connected, lag }
}

const NOT_YET = 'the servers for the tests cannot do it yet'

/** Makes a follower hang, or ends that. */
type Hang = (hanging: {
  readonly system: System
  readonly name: string
  readonly gate: Gate | undefined
}) => unknown

const gateOf =
  (method: 'close' | 'reopen' | 'delay', millis = 0): Hang =>
  ({ gate }) =>
    method === 'delay' ? gate?.delay(millis) : gate?.[method]()

/** Writes all the time, until it is stopped. That returns how far the leader has moved in a millisecond. */
async function startWriting(system: System) {
  const start = { at: performance.now(), position: await system.position() }
  let isOver = false
  const write = async () => {
    while (!isOver) {
      // Where nodes elect, a busy machine can leave them without a leader for a moment.
      await system.write(5).catch(() => undefined)
      await setTimeout(10)
    }
  }
  const writing = write()
  onTestFinished(() => {
    isOver = true
  })
  const stop = async () => {
    isOver = true
    await writing
    const moved = Number((await system.position()) - start.position)
    return moved / (performance.now() - start.at)
  }
  return { stop }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN
}

type Polling = ReturnType<typeof startPolling>

/** Polls a source quickly until the test ends. */
function startPolling(
  source: ReplicationSource,
  times = { pollIntervalMillis: 100, pollTimeoutMillis: 500 },
) {
  let reads = 0
  const listeners: (() => void)[] = []
  const counted: ReplicationSource = {
    name: source.name,
    read(...parameters) {
      reads++
      for (const listener of listeners) listener()
      return source.read(...parameters)
    },
  }
  const producer = new ReplicationLagMetricProducer({ sources: [counted], ...times })
  onTestFinished(() => producer.shutdown())
  return {
    /** How many reads have begun. */
    get reads() {
      return reads
    },
    /** Calls a function when the next reads begin, and with them the result of the last ones is known. */
    onRead: (listener: () => void) => void listeners.push(listener),
    followers: () => producer.gauge.collectMetrics(),
    follower: (name: string) =>
      producer.gauge.collectMetrics().find(({ replica }) => replica === name),
    /** What `replication_source_up` reports. */
    async isUp(): Promise<boolean | undefined> {
      const points = await pointsOf(producer, 'replication_source_up')
      const [up] = Object.values(points)
      return up === undefined ? undefined : up === 1
    },
  }
}
