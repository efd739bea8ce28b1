import { vi } from 'vitest'

/**
 * Waits until the expectations in `check` hold. The limit is there to end a test that fails, far beyond what a slow
 * machine needs.
 */
export function eventually<T>(check: () => T | Promise<T>): Promise<T> {
  return vi.waitFor(check, { timeout: 20_000, interval: 20 })
}
