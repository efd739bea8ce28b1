import { statfsSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { fileURLToPath } from 'node:url'
import { configDefaults, defineConfig, type TestProjectConfiguration } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'
import manifest from './package.json' with { type: 'json' }
import { hasSdk3 } from './test/support/repository.js'

const path = (relative: string) => fileURLToPath(new URL(relative, import.meta.url))

// Tests and examples import the package by its name, as a user does. Here that means its sources.
const self = Object.entries(manifest.exports).flatMap(([entryPoint, files]) => {
  if (typeof files === 'string') return []
  const source = files.require.replace(/^\.\/dist\/(.*)\.js$/, './src/$1.ts')
  return { find: new RegExp(`^${manifest.name}${entryPoint.slice(1)}$`), replacement: path(source) }
})

/** Takes every OpenTelemetry package from the SDK 3 tree. */
const sdk3 = [
  {
    find: /^@opentelemetry\/(.*)$/,
    replacement: path('./test/sdk/v3/node_modules/@opentelemetry/$1'),
  },
]

const SLOW = 'test/**/*.slow.test.ts'
/** What needs servers that `npm run e2e:install` installs. */
const E2E = 'test/**/*.e2e.test.ts'
const timeouts = { testTimeout: 60_000, hookTimeout: 60_000 }
const env = { TMPDIR: findTemporaryFolder() }

/** A PostgreSQL server has 400 files, and copying them is most of a start. In memory that is ten times as fast. */
function findTemporaryFolder(): string {
  try {
    const { bavail, bsize } = statfsSync('/dev/shm')
    if (bavail * bsize > 4 * 1024 ** 3) return '/dev/shm'
  } catch {
    // Only Linux has it.
  }
  return tmpdir()
}

/** Runs the contracts first. They take the longest, but where nothing is known of earlier runs, large files come first. */
class ContractsFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) =>
      /contract|servers\.e2e/.test(moduleId) ? 0 : 1
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b))
  }
}

const onSdk3: TestProjectConfiguration[] = [
  {
    resolve: { alias: [...self, ...sdk3] },
    test: {
      name: 'sdk3',
      include: ['test/otel/**/*.test.ts'],
      exclude: [...configDefaults.exclude, SLOW, E2E],
      env,
      ...timeouts,
    },
  },
  {
    resolve: { alias: [...self, ...sdk3] },
    test: {
      name: 'e2e-sdk3',
      include: ['test/e2e/exporters.e2e.test.ts'],
      testTimeout: 120_000,
      hookTimeout: 120_000,
    },
  },
]

export default defineConfig({
  test: {
    // Many tests wait for servers, so there is one more than there are processors.
    maxWorkers: availableParallelism() + 1,
    sequence: { sequencer: ContractsFirst },
    coverage: {
      provider: 'v8',
      include: ['src/**/*.ts'],
      reporter: ['text', 'text-summary'],
      // What is missing are clients of Kafka with real brokers, which test:e2e covers, and the command's own process.
      thresholds: { lines: 98, branches: 95, functions: 98, statements: 97 },
    },
    projects: [
      {
        resolve: { alias: self },
        test: {
          name: 'sdk2',
          include: ['test/**/*.test.ts'],
          exclude: [...configDefaults.exclude, SLOW, E2E],
          env,
          ...timeouts,
        },
      },
      {
        // What takes under ten seconds while working: nothing that starts a server, or generates many cases.
        resolve: { alias: self },
        test: {
          name: 'unit',
          include: ['test/{lag-map,polling,otel}/**/*.test.ts'],
          exclude: [
            ...configDefaults.exclude,
            'test/**/*.{slow,e2e,model,simulation,threads}.test.ts',
            // They load the package several times, and the other files share their process.
            'test/lag-map/environment.test.ts',
            'test/otel/register.test.ts',
          ],
          // They start nothing, so their files can share a process, which loads the SDK once.
          isolate: false,
          env,
          ...timeouts,
        },
      },
      {
        resolve: { alias: self },
        test: { name: 'slow', include: [SLOW], testTimeout: 1_200_000, hookTimeout: 60_000 },
      },
      {
        resolve: { alias: self },
        test: {
          name: 'e2e',
          include: [E2E],
          // In CI, dozens of servers start on two cores.
          retry: process.env['CI'] ? 2 : 0,
          testTimeout: 120_000,
          hookTimeout: 120_000,
          execArgv: ['--expose-gc'],
        },
      },
      ...(hasSdk3 ? onSdk3 : []),
    ],
  },
})
