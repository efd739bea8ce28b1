import type { Reporter, SerializedError, TestModule } from 'vitest/node'

/** How a run ended. */
interface Counts {
  passed: number
  failed: number
  skipped: number
}

/** Ends a run with a line that programs can read: `Tests: 12 passed, 0 failed, 1 skipped`. */
export default class ClosingLineReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly SerializedError[]): void {
    const { passed, failed, skipped } = count(modules)
    const total = failed + unhandled.length
    // On a line of its own, even if the output before does not end with a line break.
    process.stdout.write(`\nTests: ${passed} passed, ${total} failed, ${skipped} skipped\n`)
  }
}

function count(modules: readonly TestModule[]): Counts {
  const counts: Counts = { passed: 0, failed: 0, skipped: 0 }
  for (const module of modules) {
    for (const test of module.children.allTests()) {
      const { state } = test.result()
      // A test that is still pending never ended.
      counts[state === 'pending' ? 'failed' : state]++
    }
    // A file that cannot be loaded and a hook that fails are not tests, but they are failures.
    const groups = [module, ...module.children.allSuites()]
    counts.failed += groups.filter((group) => group.errors().length > 0).length
  }
  return counts
}
