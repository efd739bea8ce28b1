import { metrics } from '@opentelemetry/api'
import { afterEach, beforeEach, onTestFinished, vi } from 'vitest'
import { recordDiag, type DiagRecorder } from './diag.js'

/** Sets up each test of a file that loads `register`. */
export function setUpRegister() {
  let recorder: DiagRecorder
  beforeEach(() => (recorder = recordDiag()))
  afterEach(() => {
    recorder.stop()
    metrics.disable()
    vi.unstubAllEnvs()
  })
  return {
    /** What was logged in the test. */
    logged: {
      get messages() {
        return recorder.messages
      },
      matching: (...parts: string[]) => recorder.matching(...parts),
    },
    /** Loads the module as a process does that has these variables. What it starts ends with the test. */
    register: async (variables: Record<string, string>) => {
      vi.resetModules()
      vi.stubEnv('REPLICATION_LAG_SOURCES', undefined)
      vi.stubEnv('REPLICATION_LAG_CONFIG', undefined)
      for (const [name, value] of Object.entries(variables)) vi.stubEnv(name, value)
      const registered = await import('opentelemetry-instrumentation-replication-lag/register')
      onTestFinished(() => registered.instrumentation?.disable())
      return registered
    },
  }
}
