/**
 * Reads a number that a user has written.
 *
 * @param name of the argument or the variable of the environment, for the error
 * @returns `undefined` if there is none. An empty variable, as templates of manifests have, is not set.
 * @throws Error that says what was expected.
 */
export function readNumber(
  name: string,
  text: string | undefined,
  min: number,
  max: number,
): number | undefined {
  if (text === undefined || text.trim() === '') return undefined
  const value = Number(text)
  if (value >= min && value <= max) return value
  throw new Error(`${name}: expected a number from ${min} to ${max}, got ${JSON.stringify(text)}`)
}

/** Returns a variable of the environment. An empty one is not set. */
export function variable(name: string): string | undefined {
  const value = process.env[name]?.trim()
  return value === '' ? undefined : value
}
