import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { hasAll, scrape } from './scrape.mjs'
import { median, medianRatio } from './statistics.mjs'

const SHARDS = 65_536
const ROUNDS = 15
const WARM_UP_ROUNDS = 5
const BAR = 1.5
const SERVER = fileURLToPath(new URL('metrics-server.mjs', import.meta.url))

/**
 * A scrape of `/metrics` over HTTP with 65,536 series of one label, beside prom-client that serves the same. Each server
 * is a process of its own with nothing else to do.
 *
 * @returns {Promise<import('./report.mjs').Row[]>}
 */
export async function benchHttp() {
  const producer = await startServer('producer')
  const prom = await startServer('prom')
  /** @type {number[]} */
  const producerMillis = []
  /** @type {number[]} */
  const promMillis = []
  try {
    for (let round = 0; round < WARM_UP_ROUNDS + ROUNDS; round++) {
      const ours = await scrapeAll(producer.port)
      const theirs = await scrapeAll(prom.port)
      if (round < WARM_UP_ROUNDS) continue
      producerMillis.push(ours)
      promMillis.push(theirs)
    }
  } finally {
    producer.child.kill()
    prom.child.kill()
  }
  const ratio = medianRatio(promMillis, producerMillis)
  const millis = [producerMillis, promMillis].map((figures) => `${median(figures).toFixed(0)} ms`)
  return [
    {
      metric: '`/metrics` over HTTP, 65,536 shards by the producer, beside prom-client',
      figure: `${ratio.toFixed(2)}× faster (${millis.join(', ')})`,
      bar: `≥ ${BAR}×`,
      met: ratio >= BAR,
    },
  ]
}

/** @param {string} path */
async function startServer(path) {
  const child = fork(SERVER, [path, String(SHARDS)])
  const message = /** @type {unknown[]} */ (await once(child, 'message'))
  return { child, port: Number(message[0]) }
}

/** @param {number} port */
async function scrapeAll(port) {
  const { millis, bytes } = await scrape(port)
  if (!hasAll(bytes, SHARDS)) throw new Error(`expected all series, got ${bytes} bytes`)
  return millis
}
