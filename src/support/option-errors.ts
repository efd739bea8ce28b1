import { formatValue, logOnceHeard } from './log.js'

/** The error for an invalid option. It names the option, what was expected and what was given. */
export function optionError(option: string, expected: string, value: unknown): TypeError {
  return new TypeError(`${option}: expected ${expected}, got ${formatValue(value)}`)
}

/** @throws TypeError if the value is not an object. */
export function checkObject(option: string, value: unknown): void {
  if (typeof value !== 'object' || value === null) throw optionError(option, 'an object', value)
}

/** @throws TypeError if the value is not a boolean. */
export function checkBoolean(option: string, value: unknown): void {
  if (typeof value !== 'boolean') throw optionError(option, 'a boolean', value)
}

/** @throws TypeError if the value is not a delay that a timer of Node.js accepts. Longer ones would fire at once. */
export function checkTimer(option: string, value: unknown): void {
  checkMillis(option, value, 1, 2 ** 31 - 1)
}

/** @throws TypeError if the value is not a number of milliseconds in this range. */
export function checkMillis(option: string, value: unknown, min: number, max: number): void {
  if (typeof value === 'number' && value >= min && value <= max) return
  throw optionError(option, `a number of milliseconds from ${min} to ${max}`, value)
}

/** Whether a value has these methods. `instanceof` would not do: a process can hold two copies of a package. */
export function hasMethods(value: unknown, ...methods: string[]): boolean {
  const object = value as Record<string, unknown> | null | undefined
  return methods.every((method) => typeof object?.[method] === 'function')
}

/**
 * Logs each option that does not exist, once a logger is set. It does not throw, so that a service with an option of a newer
 * version starts.
 */
export function warnAboutUnknown(owner: string, unknown: object): void {
  for (const option of Object.keys(unknown)) {
    logOnceHeard('warn', `${owner}: unknown option ${formatValue(option)} is ignored`)
  }
}
