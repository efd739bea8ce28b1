import { show } from './show.js'

/** The error for an option that cannot work: it names the option, what was expected and what was given. */
export function optionError(option: string, expected: string, value: unknown): TypeError {
  return new TypeError(`${option}: expected ${expected}, got ${show(value)}`)
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
