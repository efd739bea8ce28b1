import { types } from 'node:util'
import { optionError } from './option-errors.js'

/**
 * The number of the layout that threads share: how slabs are laid out, what `share` gives, and what threads tell each
 * other. Versions of this package that have the same number can share.
 */
export const LAYOUT = 1

/** A value of 8 bytes and a state of 4. */
export const REGISTER_BYTES = 12

/** What every `share` gives: plain data that `postMessage` and `workerData` carry to another thread. */
export interface Shared {
  /** Tells whether a version of this package can attach it. */
  readonly layout: number
}

/** @throws TypeError in a process that has no shared memory. */
export function requireSharedMemory(): void {
  if (typeof SharedArrayBuffer === 'undefined') {
    throw new TypeError('shared memory: this process has none (SharedArrayBuffer is not defined)')
  }
}

/**
 * What somebody says was shared, to be looked at field by field.
 *
 * @param giver the method that gives it.
 * @throws TypeError if it was not shared or has another layout, or in a process that has no shared memory.
 */
export function openShared<T extends Shared>(shared: unknown, giver: string): Partial<T> {
  requireSharedMemory()
  const { layout } = Object(shared) as Partial<T>
  if (typeof layout !== 'number') throw notShared(shared, giver)
  if (layout !== LAYOUT) {
    throw new TypeError(
      `shared: expected layout ${LAYOUT}, got ${layout}: it comes from another major version of this package`,
    )
  }
  return shared as Partial<T>
}

/** The error for what `giver` did not give, or what lost its shared memory on the way. */
export function notShared(shared: unknown, giver: string): TypeError {
  const how = 'sent with postMessage or workerData, as JSON and other processes cannot carry it'
  return optionError('shared', `what ${giver} gave, ${how}`, shared)
}

/** Whether it is shared memory that holds whole registers. */
export function isSlabMemory(memory: unknown): memory is SharedArrayBuffer {
  return types.isSharedArrayBuffer(memory) && memory.byteLength % REGISTER_BYTES === 0
}
