import { optionError } from '../../support/option-errors.js'
import type { FollowerReading, ShardReading } from '../source.js'
import type { Answer, Row, Server } from './answer.js'
import { describeSlotProblem } from './slot-problem.js'
import { StableNames } from './stable-names.js'

/** A follower, as the options `filter` and `intermittent` see it. */
export interface PostgresFollower {
  /** The name that it is reported under. */
  readonly replica: string
  /** The name of its slot, if it has a permanent one. */
  readonly slotName: string | undefined
  /** `physical`, `logical`, or `none` for a connection without a slot. */
  readonly slotType: string | undefined
  readonly applicationName: string | undefined
  /** Its IP address. `undefined` without a connection, or if it came through a Unix socket. */
  readonly address: string | undefined
}

/** @internal The options that decide about followers. */
export interface FollowerOptions {
  readonly expect: readonly string[]
  /** The option `filter`. */
  readonly passes: (follower: PostgresFollower) => boolean
  readonly intermittent: ((follower: PostgresFollower) => boolean) | undefined
}

/** What is remembered of a permanent slot for as long as it exists. */
interface Slot {
  /** What its standby had replayed when it was last connected. */
  applied?: bigint | undefined
  /** What it held when its server had started again: slots are saved at checkpoints, so that can be old. */
  saved?: bigint | undefined
  /** A `standby` has reported a replay position at least once. A `receiver` never has: pg_receivewal does not. */
  user?: 'standby' | 'receiver'
}

/**
 * The followers of a node, and what is remembered of them from reading to reading. A physical slot without a connection
 * shows what was received. It shows neither how much of that was applied nor whether anything applies it.
 *
 * @internal
 */
export class Followers {
  private readonly names = new StableNames()
  private system = ''
  private timeline = 0n
  private started: string | undefined
  /** How often the node has come back with an older position on its timeline. */
  private restores = 0
  private epoch = ''
  private leader: bigint | undefined
  private slots = new Map<string, Slot>()
  /** The followers of the last reading, and on a standby those whose slot still exists, by name. */
  private known = new Map<string, Row>()

  constructor(private readonly options: FollowerOptions) {}

  read({ node, rows, problems }: Answer): Omit<ShardReading, 'shard'> {
    const { leader, in_recovery } = node
    this.updateEpoch(node)
    const problem = [...problems, ...this.updateSlots(rows, node.started)].join('; ')
    const named = this.nameFollowers(rows.filter((row) => this.isMeasured(row, in_recovery)))
    // A standby has all that its standbys have. If they are ahead, its newest position is not known at the moment.
    const isAhead = ({ applied = 0n, slot_type }: Row) =>
      leader !== undefined && applied > leader && slot_type !== 'logical'
    const isKnown = leader !== undefined && !(in_recovery && [...named.values()].some(isAhead))
    const leaderSeqno = isKnown ? leader : undefined
    const passes = ([name, row]: [string, Row]) => this.options.passes(toFollower(name, row))
    const current = new Map([...named].filter(passes))
    const removed = this.forget(current, named, rows, in_recovery)
    const followers = [...current].map(([name, row]) => this.toReading(name, row, leaderSeqno))
    const connected = rows.filter((row) => row.connected)
    const others = connected.map((row) => row.slot_name ?? row.application_name)
    const present = new Set([...named.keys(), ...others, ...removed, ...this.ownNames(node)])
    const missing = this.options.expect.filter((name) => !present.has(name))
    if (!in_recovery || connected.length > 0) {
      followers.push(...missing.map((replica) => ({ replica, connected: false })))
    }
    return {
      ...(isKnown && { leaderSeqno, epoch: this.epoch }),
      followers,
      ...(in_recovery && { cascading: true }),
      ...(removed.length > 0 && { removed }),
      ...(problem !== '' && { problem }),
    }
  }

  /** A standby that receives nothing at the moment is still on the timeline that it was on. */
  private updateEpoch({ system_identifier, ...node }: Server): void {
    const { timeline, restart_timeline, in_recovery, leader } = node
    const last = system_identifier === this.system ? this.timeline : 0n
    const isSame = system_identifier === this.system
    this.system = system_identifier
    this.timeline = timeline ?? (last > restart_timeline ? last : restart_timeline)
    const isSameHistory = isSame && last === this.timeline
    // The position of a primary never falls, unless its files were replaced by older ones.
    const { leader: before = 0n } = this
    const isRestored = isSameHistory && !in_recovery && leader !== undefined && leader < before
    this.leader = leader ?? (isSameHistory ? before : undefined)
    if (isSameHistory && !isRestored) return
    this.restores = isRestored ? this.restores + 1 : 0
    const history = `${system_identifier}/${this.timeline}`
    this.epoch = isRestored ? `${history}/${this.restores}` : history
    this.known.clear()
    for (const slot of this.slots.values()) slot.applied = undefined
  }

  /** @returns what is wrong with slots that are not reported as followers. */
  private updateSlots(rows: readonly Row[], started: string | undefined): string[] {
    const before = this.slots
    const isStarted = started !== this.started
    this.slots = new Map()
    this.started = started
    return rows.flatMap((row) => {
      const { slot_name: name, connection, applied } = row
      if (name === undefined) return []
      // A slot that holds no WAL and has lost none was never used. An older one of its name was dropped.
      const isNew = !row.connected && applied === undefined && row.lost === undefined
      const slot: Slot = (isNew ? undefined : before.get(name)) ?? {}
      this.slots.set(name, slot)
      if (isStarted) slot.saved = applied
      if (row.slot_type === 'physical' && connection !== undefined) {
        slot.applied = applied ?? slot.applied
        if (applied !== undefined) slot.user = 'standby'
        else if (onlyReceives(row)) slot.user ??= 'receiver'
      }
      return slot.user === 'receiver' ? (describeSlotProblem(row) ?? []) : []
    })
  }

  private isMeasured(row: Row, inRecovery: boolean): boolean {
    const { slot_name: name, slot_type: type, applied, lost, retained } = row
    // A logical slot has no position while it is being created. It keeps WAL already.
    if (type === 'logical') return (applied ?? lost ?? retained) !== undefined
    if (name === undefined) return applied !== undefined && !this.isBetween(row)
    const slot = this.slots.get(name) as Slot
    // A standby keeps physical slots without a use: those of its time as the primary, and Patroni's copies.
    if (slot.user === 'receiver' || (inRecovery && !row.connected)) return false
    if ((slot.applied ?? applied ?? lost) !== undefined) return true
    return row.connected === true && this.known.has(name)
  }

  /** Whether a standby with a slot has left a timeline and not begun the next one. Its slot is free for that moment. */
  private isBetween({ state, connection }: Row): boolean {
    const known = [...this.known.values()].find((each) => each.connection === connection)
    return state === 'startup' && (known === undefined || known.slot_name !== undefined)
  }

  private nameFollowers(rows: readonly Row[]): Map<string, Row> {
    const slots = rows.flatMap((row) => row.slot_name ?? [])
    const connections = rows.flatMap(({ connection: id, ...row }) => {
      if (row.slot_name !== undefined || id === undefined) return []
      const address = row.client_addr ?? 'local'
      const activity = [row.reply, row.received, row.applied].join()
      return { id, name: row.application_name ?? address, address, activity }
    })
    const names = this.names.assign(connections, slots)
    return new Map(
      rows.flatMap((row) => {
        const name = row.slot_name ?? names.get(row.connection as string)
        return name === undefined ? [] : [[name, row]]
      }),
    )
  }

  /** @throws TypeError if the option does not return a boolean. */
  private isIntermittent(follower: PostgresFollower): boolean {
    const { intermittent } = this.options
    const isIntermittent: unknown = intermittent ? intermittent(follower) : false
    if (typeof isIntermittent === 'boolean') return isIntermittent
    throw optionError('intermittent', 'a function that returns a boolean', isIntermittent)
  }

  /** The names of the node itself, which is not its own follower. A primary on timeline 1 was never a follower. */
  private ownNames({ in_recovery, cluster_name, own_slot, own_application }: Server) {
    const wasFollower = in_recovery || this.timeline > 1n
    return wasFollower ? [cluster_name, own_slot, own_application] : [cluster_name]
  }

  /** @returns the names of followers that no longer exist, connected or not. */
  private forget(
    current: Map<string, Row>,
    named: Map<string, Row>,
    rows: readonly Row[],
    inRecovery: boolean,
  ): string[] {
    const existing = new Set(rows.flatMap((row) => [row.slot_name, row.connection]))
    const before = this.known
    this.known = new Map(current)
    return [...before].flatMap(([name, row]) => {
      if (current.has(name)) return []
      if (named.has(name)) return name
      if (row.slot_name !== undefined) {
        if (!inRecovery || !existing.has(row.slot_name)) return name
        this.known.set(name, row)
        return []
      }
      // A standby has disconnected, unless its connection has a slot or another name now. The position of a consumer with
      // a temporary slot is gone with it.
      const isStandby = row.slot_type === 'none' || row.slot_type === 'physical'
      return isStandby && !existing.has(row.connection) ? [] : name
    })
  }

  /** @param leader the position to compare with, if it is known. */
  private toReading(replica: string, row: Row, leader: bigint | undefined): FollowerReading {
    const slot = row.slot_name === undefined ? undefined : this.slots.get(row.slot_name)
    const { applied: current, received, retained } = row
    const { applied: last = current, saved } = slot ?? {}
    // What a slot without a connection holds was received. Its standby may have replayed less. If it holds less than that, an
    // older standby has used it since.
    const isOlder = current !== undefined && last !== undefined && current < last
    const applied = isOlder && current !== saved ? current : last
    // The WAL stream of a base backup may use the slot of the standby that the backup is for.
    const isBackup = onlyReceives(row)
    const isConnected = row.connected === true && !isBackup
    const connected = isConnected || this.isIntermittent(toFollower(replica, row))
    const slotProblem = describeSlotProblem(row)
    const reading = { replica, connected, ...(slotProblem && { problem: slotProblem }) }
    if (leader === undefined) return reading
    const kept = retained !== undefined && { retainedSeqno: retained }
    // Some consumers confirm the byte after the last one.
    if (applied !== undefined && applied > leader + 1n) {
      const problem = `its position is ${applied - leader} bytes after the end of the WAL: one of the two was restored, or the consumer confirms what it did not get`
      return { ...reading, ...kept, diverged: true, problem }
    }
    return {
      ...reading,
      ...kept,
      ...(applied !== undefined && { appliedSeqno: min(applied, leader) }),
      ...(received !== undefined && !isBackup && { receivedSeqno: min(received, leader) }),
    }
  }
}

function toFollower(replica: string, row: Row): PostgresFollower {
  const { slot_name: slotName, slot_type: slotType, client_addr: address } = row
  return { replica, slotName, slotType, applicationName: row.application_name, address }
}

function min(one: bigint, other: bigint): bigint {
  return one < other ? one : other
}

/** Whether a connection has shown that it applies nothing. */
function onlyReceives({ connection, receives_only, state, applied }: Row): boolean {
  if (connection === undefined) return false
  return receives_only ?? (state === 'streaming' && applied === undefined)
}
