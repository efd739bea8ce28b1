import type { MeterProvider as ApiMeterProvider } from '@opentelemetry/api'
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import { registerInstrumentations, type Instrumentation } from '@opentelemetry/instrumentation'
import {
  MeterProvider,
  PeriodicExportingMetricReader,
  type InMemoryMetricExporter,
  type MetricProducer,
} from '@opentelemetry/sdk-metrics'
import { NodeSDK } from '@opentelemetry/sdk-node'
import {
  ReplicationLagInstrumentation,
  ReplicationLagMetricProducer,
  type ReplicationLagGauge,
} from 'opentelemetry-instrumentation-replication-lag'
import { expect, test } from 'tstyche'

declare const instrumentation: ReplicationLagInstrumentation
declare const producer: ReplicationLagMetricProducer
declare const gauge: ReplicationLagGauge
declare const meterProvider: ApiMeterProvider
declare const exporter: InMemoryMetricExporter

test('the SDK accepts the instrumentation', () => {
  const instrumentations = [instrumentation]
  expect(instrumentation).type.toBeAssignableTo<Instrumentation>()
  expect(registerInstrumentations).type.toBeCallableWith({ instrumentations })
  expect(registerInstrumentations).type.toBeCallableWith({ instrumentations, meterProvider })
  expect(NodeSDK).type.toBeConstructableWith({ instrumentations })
})

test('the instrumentation takes providers of the API and of the SDK', () => {
  expect(instrumentation.setMeterProvider).type.toBeCallableWith(meterProvider)
  expect(instrumentation.setMeterProvider).type.toBeCallableWith(new MeterProvider())
  expect(instrumentation.setMeterProvider).type.not.toBeCallableWith({ collect: () => [] })
})

test('the SDK accepts the producer', () => {
  const metricProducers = [producer]
  expect(producer).type.toBeAssignableTo<MetricProducer>()
  expect(PrometheusExporter).type.toBeConstructableWith({ metricProducers })
  expect(PeriodicExportingMetricReader).type.toBeConstructableWith({ exporter, metricProducers })
})

test('both take options with the lag map, not the lag map', () => {
  expect(ReplicationLagInstrumentation).type.toBeConstructableWith()
  expect(ReplicationLagInstrumentation).type.toBeConstructableWith({ gauge })
  expect(ReplicationLagInstrumentation).type.not.toBeConstructableWith(gauge)
  expect(ReplicationLagInstrumentation).type.not.toBeConstructableWith({ gauge: '7' })
  expect(ReplicationLagMetricProducer).type.toBeConstructableWith()
  expect(ReplicationLagMetricProducer).type.toBeConstructableWith({ gauge })
  expect(ReplicationLagMetricProducer).type.not.toBeConstructableWith(gauge)
})

test('only the instrumentation can be created without starting it', () => {
  expect(ReplicationLagInstrumentation).type.toBeConstructableWith({ enabled: false })
  expect(ReplicationLagMetricProducer).type.not.toBeConstructableWith({ enabled: false })
})

test('the configuration can be read and changed', () => {
  expect(instrumentation.setConfig).type.toBeCallableWith({ enabled: false })
  expect(instrumentation.setConfig).type.toBeCallableWith({ ...instrumentation.getConfig() })
  expect(producer.shutdown()).type.toBe<Promise<void>>()
})
