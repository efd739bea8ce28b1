import { types } from 'node:util'
import { optionError } from './option-errors.js'

/**
 * The number of the layout that threads share: how slabs are laid out, what `share` gives, and what threads tell each
 * other. Versions of this package that have the same number can share.
 */
export const LAYOUT = 1

/** A generation of a register is a multiple of this: the rest of its state is flags. */
export const GENERATION = 8

/** A value of 8 bytes and a state of 4. */
export const REGISTER_BYTES = 12

/** What every `share` gives: plain data that `postMessage` and `workerData` carry to another thread. */
export interface Shared {
  /** What it is of. */
  readonly kind: 'AtomicSeqno' | 'ReplicationLagGauge'
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
 * Opens what somebody says was shared.
 *
 * @param open looks at it field by field; gives `undefined` if one of them is not as it was shared.
 * @throws TypeError if it was not shared or has another layout, or in a process that has no shared memory.
 */
export function openShared<S extends Shared, Opened>(
  shared: unknown,
  kind: S['kind'],
  open: (shared: Partial<S>) => Opened | undefined,
): Opened {
  requireSharedMemory()
  const layout = quietly(() => (Object(shared) as Partial<S>).layout)
  if (typeof layout === 'number' && layout >= 0 && layout !== LAYOUT) {
    throw new TypeError(
      `shared: expected layout ${LAYOUT}, got ${layout}: it comes from another major version of this package`,
    )
  }
  const opened =
    layout === LAYOUT
      ? quietly(() => ((shared as S).kind === kind ? open(shared as Partial<S>) : undefined))
      : undefined
  if (opened !== undefined) return opened
  const how = 'sent with postMessage or workerData, as JSON and other processes cannot carry it'
  throw optionError('shared', `what ${kind}.share() gave, ${how}`, shared)
}

/** What is read; `undefined` if it cannot be read, as a getter that throws. */
function quietly<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch {
    return undefined
  }
}

/** Whether it is shared memory that holds whole registers. */
export function isSlabMemory(memory: unknown): memory is SharedArrayBuffer {
  return types.isSharedArrayBuffer(memory) && memory.byteLength % REGISTER_BYTES === 0
}

/** Whether memory that holds whole registers has one of this index, and this can be a generation of it. */
export function isPlace(memory: SharedArrayBuffer, index: unknown, generation: unknown): boolean {
  return (
    Number.isInteger(index) &&
    (index as number) >= 0 &&
    (index as number) < memory.byteLength / REGISTER_BYTES &&
    ((generation as number) | 0) === generation &&
    generation % GENERATION === 0
  )
}
