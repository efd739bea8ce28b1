/** Something that needs a name of its own for as long as it lasts, and the same one when it comes back. */
export interface Bearer {
  /** Tells it from every other one, while it lasts: a connection's pid and start. */
  readonly key: string
  /** The name it would have, were it alone. */
  readonly name: string
  /** Where it comes from; tells apart those of one name, and is how one is known again. */
  readonly address: string
}

/** How many bearers of the past are remembered. */
const MAX_REMEMBERED = 1000

/**
 * Gives each of several followers a distinct name, and the same one from reading to reading.
 *
 * The first of a name gets the name itself, a second `name@address`, a third from the same address `name@address#2`.
 * Nobody is renamed while it lasts; one that comes back gets the name it had, if that is free. A process id is never part
 * of a name, since it would make a new series of every reconnection.
 */
export class StableNames {
  #current = new Map<string, string>()
  /** By name and address, the names that were given before. */
  readonly #remembered = new Map<string, Set<string>>()

  /** @returns a name for each bearer, in their order; older bearers first, they choose first. */
  assign(bearers: readonly Bearer[]): string[] {
    const names = new Map<string, string>()
    const taken = new Set<string>()
    const give = ({ key }: Bearer, name: string) => {
      names.set(key, name)
      taken.add(name)
    }
    for (const bearer of bearers) {
      const name = this.#current.get(bearer.key)
      if (name !== undefined) give(bearer, name)
    }
    for (const bearer of bearers) {
      if (names.has(bearer.key)) continue
      const name = this.#candidates(bearer, bearers.length).find(
        (candidate) => !taken.has(candidate),
      )
      give(bearer, name as string)
    }
    this.#current = names
    return bearers.map((bearer) => {
      const name = names.get(bearer.key) as string
      this.#remember(bearer, name)
      return name
    })
  }

  /** Names that the bearer may have, best first: more than there are bearers, so one of them is free. */
  #candidates({ name, address }: Bearer, bearers: number): string[] {
    const placed = `${name}@${address}`
    const numbered = Array.from({ length: bearers }, (_, index) => `${placed}#${index + 2}`)
    return [...(this.#remembered.get(placed) ?? []), name, placed, ...numbered]
  }

  #remember({ name, address }: Bearer, given: string): void {
    const placed = `${name}@${address}`
    const before = this.#remembered.get(placed) ?? new Set<string>()
    // Taken out and put in again, so that the ones not seen for longest are first and are forgotten first.
    this.#remembered.delete(placed)
    this.#remembered.set(placed, before.add(given))
    const oldest = this.#remembered.keys().next()
    if (this.#remembered.size > MAX_REMEMBERED) this.#remembered.delete(oldest.value as string)
  }
}
