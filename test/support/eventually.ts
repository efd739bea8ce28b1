import { vi } from 'vitest'

/**
 * Waits until the expectations in `check` hold. The limit ends a test that fails. It is far beyond what a slow machine
 * needs.
 */
export function eventually<T>(check: () => T | Promise<T>): Promise<T> {
  return vi.waitFor(check, { timeout: 40_000, interval: 20 })
}
