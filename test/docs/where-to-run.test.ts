import { expect, test } from 'vitest'
import { readRules, type Rule } from '../monitoring/files.js'
import { readText } from '../support/repository.js'

/** The labels that an alert keeps, by its name. */
function labelsOf({ expr }: Rule): string[] {
  return [...expr.matchAll(/\b(?:max|count) by \(([^)]*)\)/g)].map(([, labels = '']) => labels)
}

test('with two pollers of one job, alerts on followers fire once, and alerts on sources for each poller', () => {
  const alerts = readRules().filter(({ alert }) => alert !== undefined)
  const followers = alerts.filter(({ alert }) =>
    /^Replication(?:Follower|Replay|Network|Log)/.test(alert ?? ''),
  )
  expect(followers.length).toBeGreaterThan(4)
  expect(new Set(followers.flatMap(labelsOf))).toEqual(new Set(['job, shard, replica']))
  const sources = alerts.filter(({ alert }) => alert?.startsWith('ReplicationSource'))
  expect(sources).toHaveLength(2)
  expect(new Set(sources.flatMap(labelsOf))).toEqual(new Set(['job, instance, source']))
  const page = readText('docs/where-to-run.md')
  for (const labels of ['`job`, `shard`, `replica`', '`job`, `instance`, `source`']) {
    expect(page).toContain(labels)
  }
})
