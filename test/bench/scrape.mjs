import { fork } from 'node:child_process'
import { once } from 'node:events'
import { get } from 'node:http'
import { fileURLToPath } from 'node:url'

const SERVER = fileURLToPath(new URL('metrics-server.mjs', import.meta.url))

/**
 * A process that serves so many series in one of the ways of metrics-server.mjs, and does nothing else.
 *
 * @param {string} path
 * @param {number} series
 */
export async function startServer(path, series) {
  const child = fork(SERVER, [path, String(series)])
  const message = /** @type {unknown[]} */ (await once(child, 'message'))
  return {
    scrape: async () => {
      const scraped = await scrape(Number(message[0]))
      if (hasAll(scraped.bytes, series)) return scraped
      throw new Error(`expected all series, got ${scraped.bytes} bytes`)
    },
    stop: () => child.kill(),
  }
}

/**
 * Scrapes once. The body is discarded as it comes, so that the client takes little of the time.
 *
 * @param {number} port
 * @returns {Promise<{ millis: number, bytes: number }>}
 */
export function scrape(port) {
  const startedAt = performance.now()
  return new Promise((resolve, reject) => {
    get({ host: '127.0.0.1', port, path: '/metrics' }, (response) => {
      let bytes = 0
      response.on('error', reject)
      response.on('data', (/** @type {Buffer} */ chunk) => {
        bytes += chunk.length
      })
      response.on('end', () => resolve({ millis: performance.now() - startedAt, bytes }))
    }).on('error', reject)
  })
}

/**
 * Whether a body can be that of so many series: each is longer than this, in one label and the shortest value.
 *
 * @param {number} bytes
 * @param {number} series
 */
export function hasAll(bytes, series) {
  return bytes > series * 'replication_lag_seqno{shard="shard-1"} 1'.length
}
