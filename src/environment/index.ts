import type { ReplicationLagOptions } from '../otel/options.js'
import { readConfiguration } from './configuration.js'
import { createOptions } from './options.js'

/**
 * Reads what to poll from `REPLICATION_LAG_SOURCES`, or from the JSON file that `REPLICATION_LAG_CONFIG` names.
 *
 * @param environment default: `process.env`
 * @returns options for {@link ReplicationLagMetricProducer} or {@link ReplicationLagInstrumentation}, with the sources;
 * `undefined` if neither variable is set.
 * @throws Error that says on one line what is wrong. It contains no password.
 */
export function readEnvironment(
  environment: Readonly<Record<string, string | undefined>> = process.env,
): ReplicationLagOptions | undefined {
  const configuration = readConfiguration(environment)
  return configuration && createOptions(configuration)
}
