import { afterEach, beforeEach, describe, it, vi } from 'vitest'
import { checkAnyReadings, checkValidRows } from './any-readings.js'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

describe('any readings at all', { timeout: 300_000 }, () => {
  it('never stop polling or collecting, and make no lag that is not a difference of their positions', async () => {
    await checkAnyReadings(3000)
  })

  it('keep what their valid rows say, and count each of the others', async () => {
    await checkValidRows(3000)
  })
})
