import { show } from './show.js'

/** The error for an option that cannot work: it names the option, what was expected and what was given. */
export function optionError(option: string, expected: string, value: unknown): TypeError {
  return new TypeError(`${option}: expected ${expected}, got ${show(value)}`)
}

/** The longest delay that Node's timers take: longer ones fire at once. */
const MAX_TIMER_MILLIS = 2 ** 31 - 1

/** @throws TypeError if it is no object. */
export function checkObject(option: string, value: unknown): void {
  if (typeof value !== 'object' || value === null) throw optionError(option, 'an object', value)
}

/** @throws TypeError if it is no boolean. */
export function checkBoolean(option: string, value: unknown): void {
  if (typeof value !== 'boolean') throw optionError(option, 'a boolean', value)
}

/** @throws TypeError if it is no delay that a timer takes. */
export function checkTimer(option: string, value: unknown): void {
  checkMillis(option, value, 1, MAX_TIMER_MILLIS)
}

/** @throws TypeError if it is no number of milliseconds in this range. */
export function checkMillis(option: string, value: unknown, min: number, max: number): void {
  if (typeof value === 'number' && value >= min && value <= max) return
  throw optionError(option, `a number of milliseconds from ${min} to ${max}`, value)
}

/**
 * Whether it is an object with these methods. Not instanceof: a program may hold the ESM and the CommonJS build of this
 * package at the same time.
 */
export function hasMethods(value: unknown, ...methods: string[]): boolean {
  const object = value as Record<string, unknown> | null | undefined
  return methods.every((method) => typeof object?.[method] === 'function')
}

/**
 * @param unknown the options that are left when the known ones are taken out.
 * @throws TypeError for the first of them: one that is misspelt would have no effect and nobody would know.
 */
export function refuseUnknown(unknown: object): void {
  for (const option of Object.keys(unknown)) {
    throw new TypeError(`${option}: there is no such option`)
  }
}
