/** @import { ReplicationLagGauge } from 'opentelemetry-instrumentation-replication-lag' */
import { createServer } from 'node:http'

const MAX_SECONDS = 10

/**
 * Returns a server that answers 200 while the follower is at most 10 s behind, and 503 otherwise.
 *
 * @param {ReplicationLagGauge} gauge
 * @param {string} shard
 * @param {string} replica
 */
export function createReadinessServer(gauge, shard, replica) {
  return createServer((_request, response) => {
    const seconds = gauge.lagSeconds(shard, replica)
    const isReady = seconds !== undefined && seconds <= MAX_SECONDS
    response.writeHead(isReady ? 200 : 503, { 'content-type': 'text/plain' })
    response.end(
      seconds === undefined
        ? `the lag of ${replica} is unknown\n`
        : `${replica} is ${seconds.toFixed(1)} s behind\n`,
    )
  })
}
