import { fork } from 'node:child_process'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { MessageChannel, Worker } from 'node:worker_threads'
import { fillGauge, FOLLOWERS, SHARDS, START } from './fleet.mjs'
import { ratio, report } from './measure.mjs'
import { serve } from './serve.mjs'

// The event-loop delay of a thread that stores seqnos all the time, while a worker or the thread itself serves them at /metrics.

const ROUNDS = 5
const SETTLE_MILLIS = 1000
const ROUND_MILLIS = 5000
/** At 1 ms, one stall a second would be less than the thousandth that the percentile leaves out. */
const RESOLUTION_MILLIS = 2
/** Stores in one turn of the event loop: about 50 µs, so that they delay nothing by themselves. */
const STORES_PER_TURN = 2048

if (process.send) scrapeEverySecond(String(process.argv[2]))
else await measure()

/**
 * Runs in a process of its own, and sends how many lines come.
 *
 * @param {string} url
 */
function scrapeEverySecond(url) {
  process.once('disconnect', () => process.exit())
  setInterval(() => {
    void fetch(url)
      .then((response) => response.text())
      .then((text) => process.send?.(text.split('\n').length))
  }, 1000)
}

async function measure() {
  const gauge = fillGauge(SHARDS)
  const { port1, port2 } = new MessageChannel()
  const script = new URL('host-delay-worker.mjs', import.meta.url)
  const worker = new Worker(script, { workerData: port2, transferList: [port2] })
  gauge.publish(port1)
  const workerUrl = await message(worker)
  const ownUrl = await serve(gauge)

  const leaders = SHARDS.map((shard) => gauge.leader(shard))
  let seqno = START
  let next = 0
  const store = () => {
    seqno++
    for (const leader of leaders.slice(next, next + STORES_PER_TURN)) leader.store(seqno)
    next = (next + STORES_PER_TURN) % FOLLOWERS
    setImmediate(store)
  }
  store()

  const inWorker = []
  const inThread = []
  for (let round = 0; round < ROUNDS; round++) {
    inWorker.push(await measureScraped(workerUrl))
    inThread.push(await measureScraped(ownUrl))
  }
  report(
    ratio(
      'event-loop delay (p99.9) while a worker serves : the thread itself',
      inWorker,
      inThread,
      {
        atMost: 0.05,
      },
    ),
  )
}

/** @param {string} url */
async function measureScraped(url) {
  const scraper = fork(fileURLToPath(import.meta.url), [url])
  const lines = await message(scraper)
  if (Number(lines) < 2 * FOLLOWERS) throw new Error(`expected the fleet, got ${lines} lines`)
  const delay = await measureDelay()
  if (!scraper.kill()) throw new Error('expected a scraper that still runs')
  return delay
}

/**
 * @param {import('node:events').EventEmitter} sender
 * @returns {Promise<string>} its next message
 */
async function message(sender) {
  return String(await new Promise((resolve) => sender.once('message', resolve)))
}

/** The 99.9th percentile, in milliseconds. */
async function measureDelay() {
  await sleep(SETTLE_MILLIS)
  const delays = monitorEventLoopDelay({ resolution: RESOLUTION_MILLIS })
  delays.enable()
  await sleep(ROUND_MILLIS)
  delays.disable()
  return delays.percentile(99.9) / 1e6
}
