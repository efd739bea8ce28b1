import { expect, test } from 'vitest'
import { readText } from '../support/repository.js'
import { findTableRows } from './markdown.js'

const PAGE = 'docs/rust-design.md'

/** The rows that name a test: its file, and its title. */
const rows = findTableRows({ path: PAGE, text: readText(PAGE) }).flatMap(({ links, codes }) => {
  const [file] = links.filter((target) => target.endsWith('.test.ts'))
  return file === undefined ? [] : { file: file.replace(/^\.\.\//, ''), title: codes.at(-1) ?? '' }
})

test('the page names a test for each thing that must hold', () => {
  expect(rows.length).toBeGreaterThan(9)
})

test.each(rows)('$file has the test "$title"', ({ file, title }) => {
  const titles = [...readText(file).matchAll(/^\s*(?:it|test)(?:\.\w+\([^)]*\))?\(\s*'([^']+)'/gm)]
  expect(titles.map(([, found]) => found)).toContain(title)
})

test('every name of this package on the page is exported, or a method of what is', async () => {
  const api = await import('opentelemetry-instrumentation-replication-lag')
  const { ReplicationLagGauge, ReplicationLagInstrumentation } = api
  const methods = {
    gauge: ReplicationLagGauge.prototype,
    instrumentation: ReplicationLagInstrumentation.prototype,
  }
  const text = readText(PAGE)
  const calls = [...text.matchAll(/\b(gauge|instrumentation)\.(\w+)\(/g)]
  expect(calls.length).toBeGreaterThan(6)
  for (const [, object, method] of calls) {
    expect(methods[object as keyof typeof methods]).toHaveProperty(method ?? '')
  }
  const classes = new Set(
    [...text.matchAll(/`(AtomicSeqno|Replication[A-Za-z]+)`/g)].map(([, name]) => name),
  )
  expect([...classes].sort()).toEqual(['AtomicSeqno', 'ReplicationLagGauge', 'ReplicationState'])
  expect(Object.keys(api)).toEqual(expect.arrayContaining([...classes]))
})
