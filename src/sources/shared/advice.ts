/** What to do about an error, by its description. */
export type Advice = readonly (readonly [pattern: RegExp, advice: string])[]

/** Adds the first advice that matches to a description. */
export function withAdvice(description: string, all: Advice): string {
  const advice = all.find(([pattern]) => pattern.test(description))?.[1]
  return advice === undefined ? description : `${description}: ${advice}`
}
