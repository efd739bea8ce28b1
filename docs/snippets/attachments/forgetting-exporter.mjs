import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import { AggregationTemporality, InstrumentType } from '@opentelemetry/sdk-metrics'

export class ForgettingExporter extends PrometheusExporter {
  /** @override @param {InstrumentType} type */
  selectAggregationTemporality(type) {
    // A gauge is exported without a temporality. With delta, the SDK forgets what is no longer observed.
    return type === InstrumentType.OBSERVABLE_GAUGE
      ? AggregationTemporality.DELTA
      : super.selectAggregationTemporality(type)
  }
}
