import { afterEach, beforeEach, it, vi } from 'vitest'
import { checkSeveralWriters, fakeTimers } from '../support/several-writers.js'

beforeEach(fakeTimers)
afterEach(() => {
  vi.useRealTimers()
})

it('agrees with a simple model in thousands of long random runs', async () => {
  await checkSeveralWriters({ numRuns: 2000, maxSteps: 100 })
})
