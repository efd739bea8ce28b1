import { OncePerSubject } from '../../support/log.js'
import { parseName } from '../../support/names.js'
import type { FollowerReading, ShardReading } from '../source.js'
import { passesFilter } from '../shared/options.js'
import { StableNames } from './stable-names.js'
import { fieldError } from '../shared/fields.js'
import type { Row } from './answer.js'

/** A follower, as the `filter` option sees it. */
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

/** What is remembered of a permanent slot for as long as it exists. */
interface Slot {
  /** What its standby had replayed when it was last connected. */
  applied?: bigint | undefined
  /** A `standby` has reported a replay position at least once. A `receiver` never has: pg_receivewal does not. */
  user?: 'standby' | 'receiver'
}

/**
 * The followers of a node, and what is remembered of them from reading to reading. A physical slot that nobody is connected
 * to shows what was received. It shows neither how much of that was applied nor whether anybody applies it.
 */
export class Followers {
  private readonly names = new StableNames()
  private readonly warnings = new OncePerSubject()
  private system = ''
  private timeline = 0n
  private epoch = ''
  private leader: bigint | undefined
  private slots = new Map<string, Slot>()
  /** The followers of the last reading, and on a standby those whose slot still exists, by name. */
  private known = new Map<string, Row>()

  constructor(
    private readonly expect: readonly string[],
    private readonly filter: ((follower: PostgresFollower) => boolean) | undefined,
  ) {}

  /** @returns what to report, or `undefined` if there is no leader position to compare with. */
  read(answer: readonly [Row, ...Row[]]): Omit<ShardReading, 'shard'> | undefined {
    const { leader, in_recovery } = answer[0]
    const epoch = this.updateEpoch(answer[0])
    const rows = answer.filter(({ connection, slot_name }) => connection ?? slot_name)
    this.updateSlots(rows)
    const named = this.nameFollowers(rows.filter((row) => this.isMeasured(row)))
    // A standby has all that its followers have. If they are ahead, its newest position is not known at the moment.
    const isAhead = ({ applied = 0n }: Row) => leader !== undefined && applied > leader
    const isKnown = leader !== undefined && !(in_recovery && [...named.values()].some(isAhead))
    if (isKnown) this.leader = leader
    if (this.leader === undefined) return undefined
    const current = new Map([...named].filter(([name, row]) => this.passesFilter(name, row)))
    const removed = this.forget(current, named, rows)
    const followers = [...current].map(([name, row]) => this.toReading(name, row, isKnown))
    const connected = rows.filter((row) => row.connected)
    const others = connected.map((row) => row.slot_name ?? row.application_name)
    const present = new Set([...named.keys(), ...others, ...removed])
    const missing = this.expect.filter((name) => !present.has(name))
    if (!in_recovery || connected.length > 0) {
      followers.push(...missing.map((replica) => ({ replica, connected: false })))
    }
    return { leaderSeqno: this.leader, epoch, followers, ...(removed.length > 0 && { removed }) }
  }

  /** A standby that receives nothing at the moment is still on the timeline that it was on. */
  private updateEpoch({ system_identifier, timeline, restart_timeline }: Row): string {
    const last = system_identifier === this.system ? this.timeline : 0n
    this.system = system_identifier
    this.timeline = timeline ?? (last > restart_timeline ? last : restart_timeline)
    const epoch = `${system_identifier}/${this.timeline}`
    if (epoch === this.epoch) return epoch
    this.epoch = epoch
    this.leader = undefined
    this.known.clear()
    for (const slot of this.slots.values()) slot.applied = undefined
    return epoch
  }

  private updateSlots(rows: readonly Row[]): void {
    const before = this.slots
    this.slots = new Map()
    for (const row of rows) {
      const { slot_name: name, connection, applied } = row
      if (name === undefined) continue
      if (this.slots.has(name)) throw fieldError('slot_name', `${name} twice`)
      // A slot that holds no WAL and has lost none was never used. An older one of its name was dropped.
      const isNew = !row.connected && applied === undefined && row.lost === undefined
      const slot: Slot = (isNew ? undefined : before.get(name)) ?? {}
      this.slots.set(name, slot)
      if (row.slot_type === 'physical' && connection !== undefined) {
        slot.applied = applied ?? slot.applied
        if (applied !== undefined) slot.user = 'standby'
        else if (onlyReceives(row)) slot.user ??= 'receiver'
      }
      const problem = slot.user === 'receiver' && problemOf(row)
      if (problem) this.warnings.warn(problem, () => `PostgreSQL: ${problem}`)
    }
  }

  private isMeasured(row: Row): boolean {
    if (row.slot_name === undefined) return row.applied !== undefined
    const { user, applied } = this.slots.get(row.slot_name) as Slot
    // A standby keeps physical slots that nobody uses: those of its time as the primary, and Patroni's copies.
    const isUnused = row.in_recovery && row.slot_type === 'physical' && !row.connected
    if (user === 'receiver' || isUnused) return false
    if ((applied ?? row.applied ?? row.lost) !== undefined) return true
    return row.connected === true && this.known.has(row.slot_name)
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
    const named = new Map<string, Row>()
    for (const row of rows) {
      const name = row.slot_name ?? names.get(row.connection as string)
      if (name === undefined) continue
      if (named.has(name)) throw fieldError('connection', `${row.connection} twice`)
      if (parseName(name) === undefined) throw fieldError('application_name', name)
      named.set(name, row)
    }
    return named
  }

  private passesFilter(replica: string, row: Row): boolean {
    const { slot_name: slotName, slot_type: slotType, client_addr: address } = row
    const applicationName = row.application_name
    return passesFilter(this.filter, { replica, slotName, slotType, applicationName, address })
  }

  /** @returns the names of followers that do not exist any more, connected or not. */
  private forget(current: Map<string, Row>, named: Map<string, Row>, rows: Row[]): string[] {
    const existing = new Set(rows.flatMap((row) => [row.slot_name, row.connection]))
    const before = this.known
    this.known = new Map(current)
    return [...before].flatMap(([name, row]) => {
      if (current.has(name)) return []
      if (named.has(name)) return name
      if (row.slot_name !== undefined) {
        if (!row.in_recovery || !existing.has(row.slot_name)) return name
        this.known.set(name, row)
        return []
      }
      // A standby has disconnected, unless its connection has a slot or another name now. The position of a consumer with
      // a temporary slot is gone with it.
      const isStandby = row.slot_type === 'none' || row.slot_type === 'physical'
      return isStandby && !existing.has(row.connection) ? [] : name
    })
  }

  private toReading(replica: string, row: Row, isComparable: boolean): FollowerReading {
    const slot = row.slot_name === undefined ? undefined : this.slots.get(row.slot_name)
    const { applied: current, received, retained } = row
    const { applied: last = current } = slot ?? {}
    // What a slot without a connection holds was received. Its standby may have replayed less.
    const applied = current !== undefined && last !== undefined && current < last ? current : last
    // The WAL stream of a base backup may use the slot of the standby that the backup is for.
    const isBackup = onlyReceives(row)
    const problem = problemOf(row)
    return {
      replica,
      connected: row.connected === true && !isBackup,
      ...(isComparable && applied !== undefined && { appliedSeqno: applied }),
      ...(isComparable && received !== undefined && !isBackup && { receivedSeqno: received }),
      ...(isComparable && retained !== undefined && { retainedSeqno: retained }),
      ...(problem !== undefined && { problem }),
    }
  }
}

/** Whether a connection has shown that it applies nothing. */
function onlyReceives({ connection, receives_only, state, applied }: Row): boolean {
  if (connection === undefined) return false
  return receives_only ?? (state === 'streaming' && applied === undefined)
}

function problemOf({ slot_name, lost, wal_status }: Row): string | undefined {
  if (slot_name === undefined) return undefined
  const problems: Record<string, string> = {
    extended: 'keeps more WAL than max_wal_size: if nobody needs it, drop it',
    unreserved: 'needs WAL that the server removes at the next checkpoint: it is almost lost',
    wal_removed: 'is lost: the server has removed WAL that it needs, so it must be rebuilt',
  }
  const other = lost && `is lost: the server has invalidated it (${lost}), so it must be rebuilt`
  const problem = problems[lost ?? wal_status ?? ''] ?? other
  return problem && `its slot ${slot_name} ${problem}`
}
