import { parseName } from '../../support/names.js'
import {
  addOffsets,
  fieldsOf,
  index,
  isFailure,
  list,
  map,
  name,
  pause,
  topicsIn,
  type Deadline,
  type Failure,
  type Group,
  type Offsets,
} from './answer.js'
import { answerOf } from './errors.js'
import { askHalves, halvesOf } from './halves.js'
import { Parts } from './parts.js'
import type { PlatformaticAdmin } from './platformatic-admin.js'
import { readSubscriptions } from './platformatic-subscriptions.js'

/** A group in the list of groups. */
interface Listed {
  readonly hasMembers: boolean
  /** Whether its members can be asked for their subscriptions. */
  readonly isClassic: boolean
}

type Found = ReadonlyMap<string, Group | Failure>

/** Reads groups through `@platformatic/kafka`. */
export class PlatformaticGroups {
  private listed: ReadonlyMap<string, Listed> = new Map()
  /** The broker that each group is asked at. The client finds it by itself: this one is only for grouping the questions. */
  private readonly coordinators = new Map<string, string>()
  private readonly listing = new Parts<null, ReadonlyMap<string, Listed>>(() => this.askList())
  private readonly finding = new Parts<readonly string[], ReadonlyMap<string, Failure>>((groups) =>
    this.findCoordinators(groups),
  )
  private readonly reading = new Parts<readonly string[], Found>((groups, key) =>
    this.ask(groups, key),
  )

  constructor(private readonly admin: PlatformaticAdmin) {}

  /** Renews the list of groups. Returns why that is not possible. The last list then stays. */
  async list(deadline: Deadline): Promise<unknown> {
    if (!this.admin.listGroups) return new Error('the admin client has no listGroups')
    const outcome = (await this.listing.read(new Map([['list', null]]), deadline)).get('list')
    if (outcome && !isFailure(outcome)) this.listed = outcome.answer
    return outcome?.error
  }

  /** Reads groups. Default: those in the list. */
  async read(names: readonly string[] | undefined, deadline: Deadline): Promise<Found> {
    const groups = new Map<string, Group | Failure>()
    const wanted = names ?? [...this.listed.keys()]
    await this.readCoordinators(wanted, groups, deadline)
    const parts = new Map<string, string[]>()
    for (const group of wanted) {
      if (groups.has(group)) continue
      const key = this.coordinators.get(group) ?? ''
      const part = parts.get(key)
      if (part) part.push(group)
      else parts.set(key, [group])
    }
    for (const [key, outcome] of await this.reading.read(parts, deadline)) {
      for (const group of parts.get(key) ?? []) {
        const found = isFailure(outcome) ? outcome : outcome.answer.get(group)
        groups.set(group, found ?? { error: new Error('the brokers have not answered about it') })
        // It can have moved.
        if (!found || isFailure(found)) this.coordinators.delete(group)
      }
    }
    for (const group of this.coordinators.keys()) {
      if (!groups.has(group)) this.coordinators.delete(group)
    }
    return groups
  }

  /** Finds the coordinators of groups that are new. Those that have none are added as failures. */
  private async readCoordinators(
    wanted: readonly string[],
    groups: Map<string, Group | Failure>,
    deadline: Deadline,
  ): Promise<void> {
    const unknown = wanted.filter((group) => !this.coordinators.has(group))
    if (unknown.length === 0 || !this.admin.findCoordinator) return
    const key = 'coordinators'
    const outcome = (await this.finding.read(new Map([[key, unknown]]), deadline)).get(key)
    for (const group of unknown) {
      if (this.coordinators.has(group)) continue
      const failed = outcome && (isFailure(outcome) ? outcome : outcome.answer.get(group))
      groups.set(group, failed ?? { error: new Error('it has no coordinator') })
    }
  }

  /** Returns those that have none. */
  private async findCoordinators(groups: readonly string[]): Promise<ReadonlyMap<string, Failure>> {
    const { answers, failures } = await askHalves(groups, halvesOf, async (some) => {
      const asking = this.admin.findCoordinator?.({ keyType: 0, keys: [...some] })
      const { rows, errorAt } = await answerOf(asking, 'coordinators')
      const failed: (readonly [string, Failure])[] = []
      for (const [i, row] of rows.entries()) {
        const { key, nodeId } = fieldsOf(row)
        const group = name(key, 'key')
        const error = errorAt?.(`/coordinators/${i}`)
        if (error === undefined) this.coordinators.set(group, `${index(nodeId, 'nodeId')}`)
        else failed.push([group, { error }])
      }
      return failed
    })
    return new Map([...answers.flat(), ...failuresOf(failures)])
  }

  private async askList(): Promise<ReadonlyMap<string, Listed>> {
    // Without types, only groups of the classic protocol are listed.
    const groups = await this.admin.listGroups?.({ types: [] })
    const listed = new Map<string, Listed>()
    for (const [key, row] of map(groups, 'groups')) {
      const { state, groupType, protocolType } = fieldsOf(row)
      const group = parseName(typeof key === 'string' ? key : undefined)
      // Share groups have no commits.
      if (group === undefined || groupType === 'share') continue
      const hasMembers = !/^(empty|dead)$/i.test(String(state))
      const isClassic = groupType === 'classic' && protocolType === 'consumer'
      listed.set(group, { hasMembers, isClassic })
    }
    return listed
  }

  private async ask(groups: readonly string[], key: string): Promise<Found> {
    const joined = groups.filter((group) => {
      const { hasMembers, isClassic } = this.listed.get(group) ?? {}
      return hasMembers && isClassic
    })
    const asking = readSubscriptions(this.admin, Number(key), joined)
    const { answers, failures } = await askHalves(groups, halvesOf, (some) => this.askCommits(some))
    const subscriptions = await asking
    const found = new Map<string, Group | Failure>(failuresOf(failures))
    for (const commits of answers) {
      for (const [group, offsets] of commits) {
        if (isFailure(offsets)) found.set(group, offsets)
        else {
          const { hasMembers } = this.listed.get(group) ?? {}
          const subscribed = subscriptions.get(group) ?? []
          found.set(group, { commits: offsets, hasMembers, subscribed })
        }
      }
      await pause()
    }
    return found
  }

  private async askCommits(groups: readonly string[]): Promise<Map<string, Offsets | Failure>> {
    const asking = this.admin.listConsumerGroupOffsets({ groups: [...groups] })
    const { rows, errorAt } = await answerOf(asking, 'groups')
    // A group that is not in the answer has no commits.
    const commits = new Map<string, Offsets | Failure>(groups.map((each) => [each, new Map()]))
    for (const [i, row] of rows.entries()) {
      const { groupId, topics } = fieldsOf(row)
      const error = errorAt?.(`/groups/${i}`)
      const group = name(groupId, 'groupId')
      commits.set(group, error === undefined ? parseCommits(topics) : { error })
    }
    return commits
  }
}

function parseCommits(topics: unknown): Offsets {
  const offsets = new Map<string, (bigint | null | undefined)[]>()
  for (const [, topic, rows] of topicsIn(list(topics, 'topics'))) {
    addOffsets(offsets, topic, rows, 'partitionIndex', 'committedOffset')
  }
  return offsets
}

function failuresOf(
  failures: readonly (readonly [readonly string[], unknown])[],
): (readonly [string, Failure])[] {
  return failures.flatMap(([groups, error]) => groups.map((group) => [group, { error }] as const))
}
