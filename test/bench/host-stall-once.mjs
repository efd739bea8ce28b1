import { fork } from 'node:child_process'
import { once } from 'node:events'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { fillGauge, shardNames, START } from './fleet.mjs'
import { hasAll } from './scrape.mjs'
import { listen, PATHS, serveProducer } from './metrics-server.mjs'

// The host of host-stall.mjs: prints the event-loop delays and the stores of each phase as JSON. Its argument: rounds.
// All ways to export are there all the time; only one of them is scraped at a time.

const SHARDS = 65_536
const SETTLE_MILLIS = 2000
const PHASE_MILLIS = 8000
/** At 1 ms, one stall a second would be less than the thousandth that the percentile leaves out. */
const RESOLUTION_MILLIS = 2
/** Stores in one turn of the event loop: some 50 µs, so that by itself it delays nothing. */
const BATCH = 2048

const rounds = Number(process.argv[2])
const shards = shardNames(SHARDS)
const gauge = fillGauge(shards)
const worker = new Worker(new URL('host-stall-worker.mjs', import.meta.url), {
  workerData: gauge.share(),
})
const workerMessage = /** @type {unknown[]} */ (await once(worker, 'message'))
const ports = {
  none: 0,
  worker: Number(workerMessage[0]),
  producer: await listen(serveProducer(gauge)),
  prom: await listen(PATHS.prom(shards)),
  observed: await listen(PATHS.observed(shards)),
}

let stores = 0
let next = 0
let seqno = START
const handles = shards.map((shard) => gauge.leader(shard))
/** Stores all the while, and lets the event loop turn between. */
function storeBatch() {
  seqno++
  for (const handle of handles.slice(next, next + BATCH)) handle.store(seqno)
  next = (next + BATCH) % SHARDS
  stores += BATCH
  setImmediate(storeBatch)
}
storeBatch()

const scraper = fork(fileURLToPath(new URL('host-stall-scraper.mjs', import.meta.url)))
let scrapes = 0
scraper.on('message', (message) => {
  const bytes = Number(message)
  if (!hasAll(bytes, SHARDS)) throw new Error(`expected all series, got ${bytes} bytes`)
  scrapes++
})

/** @typedef {keyof typeof ports} Mode */

/** @param {Mode} mode */
async function measurePhase(mode) {
  scraper.send(ports[mode])
  await sleep(SETTLE_MILLIS)
  const delays = monitorEventLoopDelay({ resolution: RESOLUTION_MILLIS })
  const before = { stores, scrapes, time: performance.now() }
  delays.enable()
  await sleep(PHASE_MILLIS)
  delays.disable()
  const seconds = (performance.now() - before.time) / 1000
  if (mode !== 'none' && scrapes - before.scrapes < 2) throw new Error(`${mode} was not scraped`)
  return {
    delayMillis: delays.percentile(99.9) / 1e6,
    storesPerSecond: (stores - before.stores) / seconds,
  }
}

const modes = /** @type {Mode[]} */ (Object.keys(ports))
/** @returns {{ delayMillis: number[], storesPerSecond: number[] }} */
const nothingYet = () => ({ delayMillis: [], storesPerSecond: [] })
/** @type {import('./host-stall.mjs').Figures} */
const figures = {
  none: nothingYet(),
  worker: nothingYet(),
  producer: nothingYet(),
  prom: nothingYet(),
  observed: nothingYet(),
}
for (let round = 0; round < rounds; round++) {
  for (const mode of modes) {
    const { delayMillis, storesPerSecond } = await measurePhase(mode)
    figures[mode].delayMillis.push(delayMillis)
    figures[mode].storesPerSecond.push(storesPerSecond)
  }
}
console.log(JSON.stringify(figures))
process.exit()
