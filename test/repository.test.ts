import { ReplicationLagInstrumentation } from 'opentelemetry-instrumentation-replication-lag'
import { expect, test } from 'vitest'
import { listFiles, readJson, readText } from './support/repository.js'

interface Manifest {
  readonly name: string
  readonly version: string
}

interface Lock {
  readonly version: string
  readonly packages: Readonly<
    Record<string, { readonly resolved?: string; readonly integrity?: string }>
  >
}

const manifest = readJson('package.json') as Manifest
const lock = readJson('package-lock.json') as Lock

test('the package reports its own name and version', () => {
  const instrumentation = new ReplicationLagInstrumentation({ enabled: false })
  expect(instrumentation.instrumentationName).toBe(manifest.name)
  expect(instrumentation.instrumentationVersion).toBe(manifest.version)
  expect(lock.version).toBe(manifest.version)
})

test('the lock file pins contents, and no addresses to download from', () => {
  const resolved = Object.values(lock.packages).map((entry) => entry.resolved ?? '')
  expect(resolved.filter((address) => /^\w+:/.test(address))).toEqual([])
  const unpinned = Object.entries(lock.packages).filter(
    ([path, { integrity }]) => path.includes('node_modules/') && integrity === undefined,
  )
  // The workspace of SDK 3 is a link.
  expect(unpinned.map(([path]) => path)).toEqual(['node_modules/replication-lag-test-sdk-3'])
})

test('no file names a path or a registry of one machine', () => {
  const patterns = [
    /(?<![\w.:/-])\/(?:root|home|Users|work|workspace|builds)\/[\w.-]/,
    /https?:\/\/[\w.-]*registry[\w.-]*/,
  ]
  const found = listFiles().filter((path) => {
    const text = readText(path)
    return patterns.some((pattern) => pattern.test(text))
  })
  expect(found).toEqual([])
})

test('no file of the sources is too long for one subject', () => {
  const long = listFiles('src').filter(
    (path) => path.endsWith('.ts') && readText(path).trimEnd().split('\n').length > 250,
  )
  expect(long).toEqual([])
})
