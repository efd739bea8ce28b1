import type { ReplicationLagOptions } from '../otel/options.js'
import type { Configuration } from './configuration.js'
import { createSources } from './sources.js'

/** @throws Error that names the source, and says what is wrong with it. */
export function createOptions({ sources, options }: Configuration): ReplicationLagOptions {
  return { ...options, sources: createSources(sources) }
}
