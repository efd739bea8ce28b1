/** A connection of a follower. */
export interface FollowerConnection {
  /** Identifies the connection. */
  readonly id: string
  /** What the follower calls itself. */
  readonly name: string
  /** Its origin; distinguishes connections with the same name. */
  readonly address: string
  /** Changes when the follower reports something. */
  readonly activity: string
}

/** What is remembered of a connection while it lasts. Times are counted in readings. */
interface Known {
  name: string | undefined
  activity: string
  readonly firstSeen: number
  lastActive: number
}

/** How many pairs of name and address are remembered. */
const MAX_PLACES = 1000

/**
 * Gives each connection a distinct name, and the same name in every reading: the first of a name gets the name itself, a
 * second `name@address`, a third from the same address `name@address#2`. One that reconnects gets the name that it had.
 * The id is never part of a name, because each reconnection would be a new series then.
 *
 * A follower can reconnect while its server still waits for the old connection to answer. So if there are more connections
 * of one name and address than before, those silent since the newest appeared count as replaced: they get no name, and the
 * newest gets theirs. One that reports something after that was of another follower. It gets its name back.
 */
export class StableNames {
  private reading = 0
  private known = new Map<string, Known>()
  /** The names that connections of one name and address had. */
  private readonly places = new Map<string, Set<string>>()

  /**
   * @param connections all that exist at the moment, the oldest first.
   * @param reserved names of other followers.
   * @returns a name for each connection that is not replaced, by its id.
   */
  assign(
    connections: readonly FollowerConnection[],
    reserved: Iterable<string>,
  ): Map<string, string> {
    this.reading++
    this.known = new Map(connections.map((each) => [each.id, this.update(each)]))
    const current = this.withoutReplaced(connections)
    const taken = new Set(reserved)
    const names = new Map<string, string>()
    const give = (connection: FollowerConnection, name: string) => {
      names.set(connection.id, name)
      taken.add(name)
      this.get(connection).name = name
      const place = placeOf(connection)
      this.places.set(place, (this.places.get(place) ?? new Set()).add(name))
    }
    for (const connection of current) {
      const { name } = this.get(connection)
      if (name !== undefined && !taken.has(name)) give(connection, name)
    }
    for (const connection of current) {
      if (!names.has(connection.id)) give(connection, this.freeName(connection, taken))
    }
    if (this.places.size > MAX_PLACES) this.places.clear()
    return names
  }

  private get({ id }: FollowerConnection): Known {
    return this.known.get(id) as Known
  }

  private update({ id, activity }: FollowerConnection): Known {
    const [firstSeen, lastActive] = [this.reading, this.reading]
    const known = this.known.get(id) ?? { name: undefined, activity, firstSeen, lastActive }
    if (known.activity !== activity) known.lastActive = this.reading
    known.activity = activity
    return known
  }

  private withoutReplaced(connections: readonly FollowerConnection[]): FollowerConnection[] {
    const replaced = new Set<FollowerConnection>()
    for (const place of new Set(connections.map(placeOf))) {
      const all = connections.filter((each) => placeOf(each) === place)
      const newest = Math.max(...all.map((each) => this.get(each).firstSeen))
      const silent = all.filter((each) => {
        const { firstSeen, lastActive } = this.get(each)
        return firstSeen < newest && lastActive <= newest
      })
      silent.sort((a, b) => this.get(a).lastActive - this.get(b).lastActive)
      const surplus = all.length - (this.places.get(place)?.size ?? all.length)
      for (const each of silent.slice(0, Math.max(surplus, 0))) replaced.add(each)
    }
    return connections.filter((each) => !replaced.has(each))
  }

  private freeName(connection: FollowerConnection, taken: ReadonlySet<string>): string {
    const place = placeOf(connection)
    const candidates = [...(this.places.get(place) ?? []), connection.name, place]
    for (let number = 2; candidates.every((name) => taken.has(name)); number++) {
      candidates.push(`${place}#${number}`)
    }
    return candidates.find((name) => !taken.has(name)) as string
  }
}

function placeOf({ name, address }: FollowerConnection): string {
  return `${name}@${address}`
}
