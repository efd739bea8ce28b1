import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { judgeLies } from '../mutation/lies.mjs'
import { KINDS } from '../servers/kinds.mjs'
import { createRandom } from '../servers/load.mjs'
import { grown, startMonitors } from '../servers/monitors.mjs'
import { Servers } from '../servers/servers.mjs'
import { drawSchedule } from './incidents.mjs'
import { judge } from './oracle.mjs'
import { soak } from './soak.mjs'
import { World } from './world.mjs'
/** @import { Planned } from './incidents.mjs' */
/** @import { Recording } from './world.mjs' */

// Lets random incidents happen to a real system, and compares what its monitors show with the truth:
// `npm run chaos -- --system redis --minutes 10 --seed 7`. docs/reliability.md has the other options.

const { values } = parseArgs({
  options: {
    system: { type: 'string', default: 'all' },
    minutes: { type: 'string', default: '2' },
    incidents: { type: 'string', default: '1000' },
    seed: { type: 'string', default: `${Math.floor(Math.random() * 1e6)}` },
    ci: { type: 'boolean', default: false },
    exporter: { type: 'boolean', default: false },
    soak: { type: 'boolean', default: false },
    replay: { type: 'string' },
    shrink: { type: 'boolean', default: false },
    judge: { type: 'string' },
    lies: { type: 'boolean', default: false },
  },
})

/** @typedef {{ system: string, seed: string, millis: number, schedule: Planned[] }} Plan */
/** How long the monitors have until the first incident, and to recover from the last one. */
const [WARM_UP, RECOVERY] = [8_000, 12_000]

/** @param {string} system @param {readonly string[]} names of incidents @returns {Plan} */
function draw(system, names) {
  const { seed, minutes, incidents, ci } = values
  const part = (/** @type {string} */ each, /** @type {number} */ from, /** @type {number} */ to) =>
    drawSchedule(createRandom(each), names, { from, to, count: Number(incidents) })
  const millis = ci ? 90_000 : Number(minutes) * 60_000
  const [fixed, start] = ci ? [part('1', WARM_UP, 48_000), 60_000] : [[], WARM_UP]
  return { system, seed, millis, schedule: [...fixed, ...part(seed, start, millis - RECOVERY)] }
}

/** @param {string} system @param {Plan} [given] */
async function run(system, given) {
  const kind = KINDS[system]
  if (!kind) throw new Error(`--system: expected all or ${Object.keys(KINDS).join(', ')}`)
  return withServers(async (servers) => {
    const started = await kind.start(servers)
    const { shard } = started
    const exporter = values.exporter ? system : undefined
    const { programs, gates } = await startMonitors(servers, { [shard]: started }, { exporter })
    const world = new World(kind, started, shard, programs, gates[shard])
    const plan = given ?? draw(system, world.incidents)
    const before = sleep(WARM_UP - 1000).then(() => world.measure())
    const recording = await world.run(plan.schedule, plan.millis, createRandom(plan.seed))
    recording.faults.push(...grown(await before, await world.measure()))
    return withVerdicts({ plan, recording })
  })
}

/** @param {{ plan: Plan, recording: Recording }} run */
const withVerdicts = (run) => ({ ...run, ...judge(run.recording) })

/** @template T @param {(servers: Servers) => Promise<T>} use */
async function withServers(use) {
  const servers = await Servers.create()
  return use(servers).finally(() => servers.stop())
}

/** @typedef {Awaited<ReturnType<typeof run>>} Outcome @param {Outcome} outcome */
async function report({ plan, recording, counts, failures }) {
  console.log(`\n${plan.system}, seed ${plan.seed}, ${plan.schedule.length} incidents\n`)
  console.log('| incident | right | late | silent | false | open |\n|---|---:|---:|---:|---:|---:|')
  for (const [name, { right, late, silent, false: wrong, open }] of counts) {
    console.log(`| ${name} | ${right} | ${late} | ${silent} | ${wrong} | ${open} |`)
  }
  /** How often what is alike was found. @type {Map<string, number>} */
  const alike = new Map()
  for (const { verdict, at, monitor, what, shown, truth, during } of failures) {
    const subject = `${verdict}: ${monitor} shows ${what}`
    const known = truth ? `, and true is ${truth.low.toFixed()}…${truth.high.toFixed()}` : ''
    const time = ((at - recording.start) / 1000).toFixed(1)
    const count = (alike.get(subject) ?? 0) + 1
    alike.set(subject, count)
    if (count <= 3) console.log(`${time} s ${subject} ${shown ?? ''}${known} (${during.join()})`)
  }
  for (const [subject, count] of alike) if (count > 3) console.log(`${count} times ${subject}`)
  if (values.lies) console.log('If the monitors had lied:', judgeLies(recording))
  const file = join(tmpdir(), `chaos-${plan.system}-${plan.seed}.json`)
  await writeFile(file, JSON.stringify({ plan, recording }))
  console.log(`${failures.length} failures. To repeat them: npm run chaos -- --replay ${file}`)
}

/** Returns the shortest schedule found that still fails: some of the incidents in the minute before the first failure. @param {Outcome} outcome */
async function shrink({ plan, recording: { start }, failures: [first] }) {
  let shortest = plan
  const attempt = async (/** @type {Planned[]} */ all) => {
    const shift = WARM_UP - Math.min(...all.map(({ at }) => at))
    const schedule = all.map((each) => ({ ...each, at: each.at + shift }))
    const end = Math.max(WARM_UP, ...schedule.map(({ at, millis }) => at + millis))
    const shorter = { ...plan, schedule, millis: end + RECOVERY }
    if ((await run(plan.system, shorter)).failures.length > 0) shortest = shorter
  }
  const end = (first?.at ?? 0) - start
  await attempt(plan.schedule.filter(({ at }) => at < end && at > end - 60_000))
  for (let left = shortest.schedule.length; left > 0 && shortest.schedule.length > 1; left--) {
    await attempt(shortest.schedule.filter((_, index) => index !== left - 1))
  }
  return shortest
}

/** Runs all systems, two at a time. Returns how many have failed. */
async function runAll() {
  const waiting = Object.keys(KINDS)
  let failed = 0
  const work = async () => {
    for (let system; (system = waiting.shift());) {
      const parameters = [...process.argv.slice(1), '--seed', values.seed, '--system', system]
      const child = spawn(process.execPath, parameters, { stdio: 'inherit' })
      await once(child, 'exit')
      if (child.exitCode !== 0) failed++
    }
  }
  await Promise.all([work(), work()])
  return failed
}

async function main() {
  const { system, seed, minutes } = values
  if (values.soak) {
    const all = await withServers((servers) => soak(servers, seed, Number(minutes) * 60_000))
    const outcomes = all.map(withVerdicts)
    for (const each of outcomes) await report(each)
    return outcomes.flatMap(({ failures }) => failures).length
  }
  const file = values.replay ?? values.judge
  if (!file && system === 'all') return runAll()
  /** @type {unknown} */
  const kept = JSON.parse(file ? await readFile(file, 'utf8') : '{}')
  const { plan, recording } = /** @type {Partial<Outcome>} */ (kept)
  const isKept = values.judge !== undefined && plan && recording
  let outcome = isKept ? withVerdicts({ plan, recording }) : await run(plan?.system ?? system, plan)
  await report(outcome)
  const hasFailed = outcome.failures.length > 0
  if (hasFailed && values.shrink) console.log(JSON.stringify(await shrink(outcome)))
  // A fault of the package happens again. What a busy machine does to the servers of the test rarely does.
  if (hasFailed && values.ci) await report((outcome = await run(system, outcome.plan)))
  return outcome.failures.length
}

process.exit((await main()) > 0 ? 1 : 0)
