import { get } from 'node:http'

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
  return bytes > series * 'replication_lag_seqno{shard="shard-10000"} 1'.length
}
