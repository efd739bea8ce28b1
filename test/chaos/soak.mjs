import { setTimeout as sleep } from 'node:timers/promises'
import { KINDS } from '../servers/kinds.mjs'
import { createRandom } from '../servers/load.mjs'
import { scrape, startMonitors } from '../servers/monitors.mjs'
import { INCIDENTS } from './incidents.mjs'
import { World } from './world.mjs'
/** @import { KafkaCluster } from '../servers/kafka.mjs' */
/** @import { Program } from '../servers/monitors.mjs' */
/** @import { Servers } from '../servers/servers.mjs' */
/** @import { System, SystemKind } from '../servers/system.js' */

/** How many more followers make them 200, how long until something happens again, and to how much what is used may grow. */
const [MORE, PAUSE_MILLIS, MOST] = [186, 20_000, 1.05]

/**
 * Monitors all systems at once with the command, while something happens every 20 s. What happens in a quarter of the time
 * happens four times, so that the second quarter and the last one can be compared.
 *
 * @param {Servers} servers @param {string} seed @param {number} millis
 */
export async function soak(servers, seed, millis) {
  /** @type {{ name: string, kind: SystemKind, system: System }[]} */
  const all = []
  for (const [name, kind] of Object.entries(KINDS)) {
    all.push({ name, kind, system: await kind.start(servers) })
  }
  const systems = Object.fromEntries(all.map(({ name, system }) => [name, system]))
  const kafka = /** @type {KafkaCluster} */ (/** @type {unknown} */ (systems['kafka']))
  await kafka.addPartitions(MORE)
  const { programs, gates } = await startMonitors(servers, systems, { names: /command/ })
  const worlds = all.map(({ name, kind, system }) => {
    const shard = /^kafka|^nats/.test(system.url) ? system.shard : name
    const world = new World(kind, system, shard, programs, gates[name])
    world.pause = { sample: 500, page: 2000 }
    world.own = new RegExp(`(^|:)(${name}|${shard})("|$)`)
    return world
  })
  const [random, quarter] = [createRandom(seed), millis / 4]
  const incidents = Array.from({ length: Math.floor(quarter / PAUSE_MILLIS) }, (_, index) => {
    const world = worlds[index % worlds.length]
    const names = (world?.incidents ?? []).filter((each) => INCIDENTS[each]?.[0] !== 'program')
    const name = names[Math.floor(random() * names.length)] ?? ''
    const [at, length] = [8000 + index * PAUSE_MILLIS, 1500 + random() ** 4 * 40_000]
    return { world, at, name, pick: Math.floor(random() * 6), millis: length }
  })
  const watching = watch(/** @type {Program} */ (programs[0]), worlds, millis)
  const outcomes = worlds.map(async (world) => {
    const own = incidents.filter((each) => each.world === world)
    const schedule = [0, 1, 2, 3].flatMap((count) =>
      own.map((each) => ({ ...each, world: undefined, at: each.at + count * quarter })),
    )
    const recording = await world.run(schedule, millis, createRandom(`${seed} ${world.kind.title}`))
    return { plan: { system: `soak-${world.kind.title}`, seed, millis, schedule }, recording }
  })
  const { usage, faults } = await watching
  const [before, after] = [1, 3].map((index) =>
    meanOf(usage.slice((index * usage.length) / 4, ((index + 1) * usage.length) / 4)),
  )
  console.log('\n| of the command | second quarter | last one |\n| --- | --: | --: |')
  for (const [what, first = 0] of Object.entries(before ?? {})) {
    const last = after?.[what] ?? 0
    console.log(`| ${what} | ${first.toFixed(1)} | ${last.toFixed(1)} |`)
    if (last > first * MOST) faults.add(`${what} rose from ${first} to ${last}`)
  }
  const found = await Promise.all(outcomes)
  found[0]?.recording.faults.push(...faults)
  return found
}

/** Measures what the command uses, and compares what it shows of the followers that do not move. @param {Program} program @param {readonly World[]} worlds @param {number} millis */
async function watch(program, worlds, millis) {
  /** @type {Record<string, number>[]} */
  const usage = []
  /** @type {Set<string>} */
  const faults = new Set()
  let last = { cpu: 0, lines: 0 }
  for (const end = performance.now() + millis; performance.now() < end;) {
    const { heapUsed, rss, handles, cpu } = await program.measure()
    const lines = program.log.length
    usage.push({
      'heap, MB': heapUsed / 1e6,
      'resident memory, MB': rss / 1e6,
      handles,
      connections: worlds.reduce((sum, { connections }) => sum + connections, 0),
      'ms of CPU in 10 s': cpu - last.cpu,
      'log lines in 10 s': lines - last.lines,
    })
    last = { cpu, lines }
    const { series } = await scrape(/** @type {Program['monitors'][0]} */ (program.monitors[0]))
    const find = (/** @type {string} */ start) =>
      series.filter((each) => `${each.metric} ${each.source ?? each.shard}`.startsWith(start))
    const [up] = find('replication_source_up kafka:')
    const shown = find('replication_lag_seqno wide/')
    if (up?.value === 1 && shown.length !== MORE) faults.add(`${shown.length} of ${MORE} followers`)
    for (const { shard = '', value } of shown) {
      const truth = Number(shard.replace('wide/', '')) % 5
      if (value !== truth) faults.add(`the lag of ${shard} is ${value}, and true is ${truth}`)
    }
    await sleep(10_000)
  }
  return { usage, faults }
}

/** @param {readonly Record<string, number>[]} all */
function meanOf(all) {
  const sum = (/** @type {string} */ key) =>
    all.reduce((total, each) => total + (each[key] ?? 0), 0)
  return Object.fromEntries(Object.keys(all[0] ?? {}).map((key) => [key, sum(key) / all.length]))
}
