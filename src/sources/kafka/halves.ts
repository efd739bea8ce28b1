import type { Places } from './answer.js'
import { isUnreachable } from './errors.js'

/** What was answered, and what could not be. */
export interface Halves<Part, Answer> {
  readonly answers: readonly Answer[]
  readonly failures: readonly (readonly [Part, error: unknown])[]
}

/**
 * Asks about all things at once. If that fails for a reason that can lie in one of them, it asks about each half, so that only
 * that one is unknown in the end.
 *
 * @param split returns two halves, or `undefined` if there is only one thing.
 */
export async function askHalves<Part, Answer>(
  part: Part,
  split: (part: Part) => readonly [Part, Part] | undefined,
  ask: (part: Part) => Promise<Answer>,
): Promise<Halves<Part, Answer>> {
  try {
    return { answers: [await ask(part)], failures: [] }
  } catch (error) {
    const halves = isUnreachable(error) ? undefined : split(part)
    if (!halves) return { answers: [], failures: [[part, error]] }
    const [first, second] = await Promise.all([
      askHalves(halves[0], split, ask),
      askHalves(halves[1], split, ask),
    ])
    return {
      answers: [...first.answers, ...second.answers],
      failures: [...first.failures, ...second.failures],
    }
  }
}

/** Splits a list. */
export function halvesOf<T>(items: readonly T[]): readonly [T[], T[]] | undefined {
  const middle = items.length >> 1
  return middle > 0 ? [items.slice(0, middle), items.slice(middle)] : undefined
}

export function halvesOfPlaces(places: Places): readonly [Places, Places] | undefined {
  const topics = halvesOf([...places])
  if (topics) return [new Map(topics[0]), new Map(topics[1])]
  const [[topic, all] = ['', []]] = places
  const partitions = halvesOf(all)
  return partitions && [new Map([[topic, partitions[0]]]), new Map([[topic, partitions[1]]])]
}
