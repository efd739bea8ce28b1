/** @import { ReplicationLagGauge } from 'opentelemetry-instrumentation-replication-lag' */
import { createServer } from 'node:http'

const MAX_SECONDS = 10

/**
 * Returns a server that answers 200 while the follower is connected and at most 10 s behind, and 503 otherwise.
 *
 * @param {ReplicationLagGauge} gauge
 * @param {string} shard
 * @param {string} replica
 */
export function createReadinessServer(gauge, shard, replica) {
  return createServer((_request, response) => {
    const follower = gauge
      .collectMetrics()
      .find((each) => each.shard === shard && each.replica === replica)
    const { connected = true, lagSeconds: seconds } = follower ?? {}
    const isReady = connected && seconds !== undefined && seconds <= MAX_SECONDS
    response.writeHead(isReady ? 200 : 503, { 'content-type': 'text/plain' })
    if (!connected) response.end(`${replica} is disconnected\n`)
    else if (seconds === undefined) response.end(`the lag of ${replica} is unknown\n`)
    else response.end(`${replica} is ${seconds.toFixed(1)} s behind\n`)
  })
}
