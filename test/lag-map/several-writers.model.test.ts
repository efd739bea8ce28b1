import { afterEach, beforeEach, it, vi } from 'vitest'
import { checkSeveralWriters, fakeTimers } from '../support/several-writers.js'

beforeEach(fakeTimers)
afterEach(() => {
  vi.useRealTimers()
})

it('agrees with a simple model when sources, threads and the application report the same shards', async () => {
  await checkSeveralWriters({ numRuns: 100, maxSteps: 60 })
})
