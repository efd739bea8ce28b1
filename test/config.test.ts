import {
  ReplicationLagGauge,
  ReplicationLagInstrumentation,
  type ReplicationLagInstrumentationConfig,
} from 'opentelemetry-instrumentation-replication-lag'
import { describe, expect, it } from 'vitest'

const source = { name: 's', read: () => Promise.resolve({ shards: [] }) }

describe('options', () => {
  it('have defaults, which getConfig tells', () => {
    const instrumentation = new ReplicationLagInstrumentation({ enabled: false })
    expect(instrumentation.getConfig()).toEqual({
      enabled: false,
      gauge: instrumentation.gauge,
      sources: [],
      pollIntervalMillis: 5000,
      pollTimeoutMillis: 5000,
      retentionMillis: 3_600_000,
      lagSeconds: true,
      sampleIntervalMillis: 1000,
      positions: false,
      observableGauges: true,
    })
    expect(instrumentation.gauge).toBeInstanceOf(ReplicationLagGauge)
  })

  it('are taken', () => {
    const config = {
      enabled: false,
      gauge: new ReplicationLagGauge(),
      sources: [source],
      pollIntervalMillis: 100,
      pollTimeoutMillis: 50,
      retentionMillis: Infinity,
      lagSeconds: false,
      sampleIntervalMillis: 50,
      positions: true,
      observableGauges: false,
    }
    expect(new ReplicationLagInstrumentation(config).getConfig()).toEqual(config)
  })

  it.each<[unknown, RegExp]>([
    [null, /^config: expected an object, got null/],
    ['config', /^config: expected an object, got "config"/],
    [{ enabled: 'yes' }, /^enabled: expected a boolean, got "yes"/],
    [{ lagSeconds: 'yes' }, /^lagSeconds: expected a boolean, got "yes"/],
    [
      { sampleIntervalMillis: 0 },
      /^sampleIntervalMillis: expected a number of milliseconds from 1 to/,
    ],
    [{ positions: 1 }, /^positions: expected a boolean, got 1/],
    [{ observableGauges: null }, /^observableGauges: expected a boolean, got null/],
    [{ gauge: null }, /^gauge: expected a ReplicationLagGauge, got null/],
    [{ gauge: {} }, /^gauge: expected a ReplicationLagGauge, got an object/],
    [{ guage: new ReplicationLagGauge() }, /^guage: there is no such option/],
    [{ sources: source }, /^sources: expected an array of sources, got an object/],
    [
      { sources: [null] },
      /^sources\[0\]: expected a source with a method read\(signal\), got null/,
    ],
    [{ sources: [source, { name: 't' }] }, /^sources\[1\]: expected a source with a method/],
    [
      { sources: [{ ...source, name: '' }] },
      /^sources\[0\].name: expected a non-empty string, got ""/,
    ],
    [
      { sources: [{ ...source, name: 7 }] },
      /^sources\[0\].name: expected a non-empty string, got 7/,
    ],
    [
      { sources: [source, source] },
      /^sources\[1\].name: expected a name that no other source has, got "s"/,
    ],
    [{ pollIntervalMillis: 0 }, /^pollIntervalMillis: expected a number of milliseconds from 1 to/],
    [{ pollIntervalMillis: 2 ** 31 }, /^pollIntervalMillis: expected a number/],
    [{ pollIntervalMillis: '5000' }, /^pollIntervalMillis: expected a number .* got "5000"/],
    [{ pollTimeoutMillis: Number.NaN }, /^pollTimeoutMillis: expected a number .* got NaN/],
    [{ pollTimeoutMillis: -1 }, /^pollTimeoutMillis: expected a number .* got -1/],
    [
      { retentionMillis: -1 },
      /^retentionMillis: expected a number of milliseconds from 0 to Infinity/,
    ],
    [{ retentionMillis: null }, /^retentionMillis: expected a number .* got null/],
  ])('throw a TypeError that names the option and what was expected: %j', (config, message) => {
    const construct = () =>
      new ReplicationLagInstrumentation(config as ReplicationLagInstrumentationConfig)
    expect(construct).toThrow(TypeError)
    expect(construct).toThrow(message)
  })
})
