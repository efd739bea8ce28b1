import { startServer } from './scrape.mjs'
import { median, medianRatio } from './statistics.mjs'

const SHARDS = 65_536
const ROUNDS = 15
const WARM_UP_ROUNDS = 5
const BAR = 1.5

/**
 * A scrape of `/metrics` over HTTP with 65,536 series of one label, beside prom-client that serves the same. Each server
 * is a process of its own with nothing else to do.
 *
 * @returns {Promise<import('./report.mjs').Row[]>}
 */
export async function benchHttp() {
  const producer = await startServer('producer', SHARDS)
  const prom = await startServer('prom', SHARDS)
  /** @type {number[]} */
  const producerMillis = []
  /** @type {number[]} */
  const promMillis = []
  try {
    for (let round = 0; round < WARM_UP_ROUNDS + ROUNDS; round++) {
      const ours = (await producer.scrape()).millis
      const theirs = (await prom.scrape()).millis
      if (round < WARM_UP_ROUNDS) continue
      producerMillis.push(ours)
      promMillis.push(theirs)
    }
  } finally {
    producer.stop()
    prom.stop()
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
