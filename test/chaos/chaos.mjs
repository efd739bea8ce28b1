import { execFile } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs, promisify } from 'node:util'
import { KINDS } from '../servers/kinds.mjs'
import { createRandom } from '../servers/load.mjs'
import { Servers } from '../servers/servers.mjs'
import { drawSchedule } from './incidents.mjs'
import { judge } from './oracle.mjs'
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
    replay: { type: 'string' },
    shrink: { type: 'boolean', default: false },
    judge: { type: 'string' },
  },
})

/** @typedef {{ system: string, seed: string, millis: number, schedule: Planned[] }} Plan */

/** How long the monitors have until the first incident, and to recover from the last one. */
const [WARM_UP, RECOVERY] = [8_000, 12_000]

/** @param {readonly string[]} names of incidents @returns {Plan} */
function draw(names) {
  const { system, seed, minutes, ci } = values
  const part = (/** @type {string} */ each, /** @type {number} */ from, /** @type {number} */ to) =>
    drawSchedule(createRandom(each), names, { from, to, count: Number(values.incidents) })
  const millis = ci ? 90_000 : Number(minutes) * 60_000
  const [fixed, start] = ci ? [part('1', WARM_UP, 48_000), 60_000] : [[], WARM_UP]
  return { system, seed, millis, schedule: [...fixed, ...part(seed, start, millis - RECOVERY)] }
}

/** @param {string} system @param {Plan} [given] */
async function run(system, given) {
  const kind = KINDS[system]
  if (!kind) throw new Error(`--system: expected all or ${Object.keys(KINDS).join(', ')}`)
  const servers = await Servers.create()
  try {
    const world = await World.start(servers, kind)
    const plan = given ?? draw(world.incidents)
    const recording = await world.run(plan.schedule, plan.millis, createRandom(plan.seed))
    return { plan, recording }
  } finally {
    await servers.stop()
  }
}

/** Returns how many numbers were wrong. @param {Plan} plan @param {Recording} recording */
async function report(plan, recording) {
  const { counts, failures } = judge(recording)
  console.log(`\n${plan.system}, seed ${plan.seed}\n`)
  console.log('| incident | right | late | silent | false |\n| --- | ---: | ---: | ---: | ---: |')
  for (const [name, { right, late, silent, false: wrong }] of counts) {
    console.log(`| ${name} | ${right} | ${late} | ${silent} | ${wrong} |`)
  }
  for (const { verdict, at, monitor, what, shown, truth, during } of failures.slice(0, 40)) {
    const known = truth === undefined ? '' : `, and true is ${truth}`
    const seen = `${monitor} shows ${what} ${shown ?? ''}${known}`
    console.log(`${verdict} at ${(at / 1000).toFixed(1)} s: ${seen} (${during.join(', ')})`)
  }
  if (failures.length === 0) return 0
  const file = join(tmpdir(), `chaos-${plan.system}-${plan.seed}.json`)
  await writeFile(file, JSON.stringify({ plan, recording }))
  console.log(`${failures.length} failures. Repeat: npm run chaos -- --replay ${file}`)
  return failures.length
}

/** Returns the shortest schedule found that still fails. @param {Plan} plan */
async function shrink(plan) {
  let shortest = plan
  for (const planned of plan.schedule) {
    const schedule = shortest.schedule.filter((each) => each !== planned)
    const end = Math.max(...schedule.map(({ at, millis }) => at + millis))
    const shorter = { ...plan, schedule, millis: end + RECOVERY }
    const { recording } = await run(plan.system, shorter)
    if (judge(recording).failures.length > 0) shortest = shorter
  }
  return shortest
}

/** Runs all systems, two at a time. Returns how many have failed. */
async function runAll() {
  const waiting = Object.keys(KINDS)
  let failed = 0
  const work = async () => {
    for (let system; (system = waiting.shift());) {
      // The last of two options of one name counts.
      const parameters = [...process.argv.slice(1), '--seed', values.seed, '--system', system]
      const lost = (/** @type {{ stdout: string, stderr: string }} */ error) => {
        failed++
        return error
      }
      const running = promisify(execFile)(process.execPath, parameters, { maxBuffer: 1e8 })
      const { stdout, stderr } = await running.catch(lost)
      console.log(stdout + stderr)
    }
  }
  await Promise.all([work(), work()])
  return failed
}

/** Reads what was kept of a run that failed. @param {string} file @returns {Promise<{ plan: Plan, recording: Recording }>} */
async function readKept(file) {
  /** @type {unknown} */
  const kept = JSON.parse(await readFile(file, 'utf8'))
  return /** @type {{ plan: Plan, recording: Recording }} */ (kept)
}

async function main() {
  const { system, replay, judge: judged } = values
  const file = replay ?? judged
  const kept = file === undefined ? undefined : await readKept(file)
  if (kept && judged !== undefined) return report(kept.plan, kept.recording)
  if (!kept && system === 'all') return runAll()
  const { plan, recording } = await run(kept?.plan.system ?? system, kept?.plan)
  const failed = await report(plan, recording)
  if (failed > 0 && values.shrink) console.log(JSON.stringify(await shrink(plan)))
  return failed
}

process.exit((await main()) > 0 ? 1 : 0)
