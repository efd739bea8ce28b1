import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

const path = (relative: string) => fileURLToPath(new URL(relative, import.meta.url))

// Tests and examples import the package by its name, as a user does; here that means its sources.
const self = [
  {
    find: /^opentelemetry-instrumentation-replication-lag\/sources\/(.*)$/,
    replacement: path('./src/sources/$1.ts'),
  },
  { find: /^opentelemetry-instrumentation-replication-lag$/, replacement: path('./src/index.ts') },
]

/** The same suite once more, with every OpenTelemetry package taken from the SDK 3 tree. */
const sdk3 = [
  {
    find: /^@opentelemetry\/(.*)$/,
    replacement: path('./test/sdk/v3/node_modules/@opentelemetry/$1'),
  },
]

export default defineConfig({
  test: {
    coverage: {
      provider: 'v8',
      include: ['src/**/*.ts'],
      reporter: ['text', 'text-summary'],
      thresholds: { lines: 100, branches: 100, functions: 100, statements: 100 },
    },
    projects: [
      {
        resolve: { alias: self },
        test: {
          name: 'sdk2',
          include: ['test/**/*.test.ts'],
          testTimeout: 30_000,
          hookTimeout: 60_000,
        },
      },
      {
        resolve: { alias: [...self, ...sdk3] },
        test: { name: 'sdk3', include: ['test/sdk/**/*.test.ts'], testTimeout: 30_000 },
      },
    ],
  },
})
