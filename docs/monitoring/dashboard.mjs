// Writes dashboard.json next to it: node docs/monitoring/dashboard.mjs
// With --print, it prints the dashboard instead.
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import {
  GraphThresholdsStyleConfigBuilder,
  GraphThresholdsStyleMode,
  LegendDisplayMode,
  LegendPlacement,
  LineInterpolation,
  VizLegendOptionsBuilder,
} from '@grafana/grafana-foundation-sdk/common'
import {
  DashboardBuilder,
  DashboardCursorSync,
  DatasourceVariableBuilder,
  QueryVariableBuilder,
  RowBuilder,
  TextBoxVariableBuilder,
  ThresholdsConfigBuilder,
  ThresholdsMode,
  VariableRefresh,
  VariableSort,
} from '@grafana/grafana-foundation-sdk/dashboard'
import { DataqueryBuilder, PromQueryFormat } from '@grafana/grafana-foundation-sdk/prometheus'
import { PanelBuilder as StatBuilder } from '@grafana/grafana-foundation-sdk/stat'
import { PanelBuilder as TableBuilder } from '@grafana/grafana-foundation-sdk/table'
import { PanelBuilder as TimeSeriesBuilder } from '@grafana/grafana-foundation-sdk/timeseries'
import { format, resolveConfig } from 'prettier'

const datasource = { type: 'prometheus', uid: '${datasource}' }

/** The series that the variables of the dashboard select. */
const selected = (/** @type {string} */ metric) => `${metric}{shard=~"$shard", replica=~"$replica"}`

/** One series for each follower, however many processes report it. */
const worst = (/** @type {string} */ metric) => `max by (shard, replica) (${selected(metric)})`

const lagSeconds = worst('replication_lag_seconds')
// Followers of other processes have their lag from the recording rule.
const lagSeqno = `(${worst('replication:lag_seqno')} or ${worst('replication_lag_seqno')})`
const receiveLag = worst('replication_receive_lag_seqno')
const replayLag = `max by (shard, replica) (${selected('replication_lag_seqno')} - ${selected('replication_receive_lag_seqno')})`
// Where no seconds are reported, positions must do.
const furthestBehind = `(topk(10, ${lagSeconds}) or topk(10, ${lagSeqno} unless on (shard, replica) ${lagSeconds}))`
const retained = worst('replication_retained_seqno')
const connected = worst('replication_follower_connected')
const ofSources = (/** @type {string} */ metric) => `max by (job, instance, source) (${metric})`

// A graph with more lines than this is unreadable.
const top = (/** @type {string} */ query) => `topk(20, ${query})`
/** Counts as 0 if nothing is found. But without any series, nothing is known, and the panel says "No data". */
const orZero = (/** @type {string} */ query, /** @type {string} */ known) =>
  `(${query}) or (count(${known}) * 0)`

const query = (/** @type {string} */ refId, /** @type {string} */ expr) =>
  new DataqueryBuilder().refId(refId).datasource(datasource).expr(expr)

const curve = (/** @type {string} */ refId, /** @type {string} */ expr, legend = FOLLOWER) =>
  query(refId, expr).range().legendFormat(legend)

const now = (/** @type {string} */ refId, /** @type {string} */ expr) =>
  query(refId, expr).instant().format(PromQueryFormat.Table)

const FOLLOWER = '{{shard}} {{replica}}'

const colors = (/** @type {{ value: number, color: string }[]} */ ...limits) =>
  new ThresholdsConfigBuilder()
    .mode(ThresholdsMode.Absolute)
    .steps([{ value: null, color: 'text' }, ...limits])

/** For counts of what is wrong. A position or an age has no color, because only the reader knows what is far. */
const RED_FROM_1 = [
  { value: 0, color: 'green' },
  { value: 1, color: 'red' },
]

let panels = 0

const stat = (/** @type {string} */ title, /** @type {string} */ description) =>
  new StatBuilder()
    .id(++panels)
    .title(title)
    .description(description)
    .datasource(datasource)
    .span(4)
    .height(4)
    .unit('none')
    .noValue('No data')
    // Without its own limits, Grafana turns a value red at 80.
    .thresholds(colors())

const graph = (/** @type {string} */ title, /** @type {string} */ description) =>
  new TimeSeriesBuilder()
    .id(++panels)
    .title(title)
    .description(description)
    .datasource(datasource)
    .span(12)
    .height(8)
    .fillOpacity(5)
    .legend(
      new VizLegendOptionsBuilder()
        .displayMode(LegendDisplayMode.List)
        .placement(LegendPlacement.Bottom)
        .showLegend(true)
        .calcs([]),
    )

/** Draws the query `threshold` as a dashed red line. */
const withThreshold = (/** @type {TimeSeriesBuilder} */ panel, /** @type {string} */ variable) =>
  panel
    .withTarget(curve('threshold', `vector($${variable})`, 'threshold'))
    .overrideByQuery('threshold', [
      { id: 'color', value: { mode: 'fixed', fixedColor: 'red' } },
      { id: 'custom.lineStyle', value: { fill: 'dash', dash: [10, 10] } },
      { id: 'custom.fillOpacity', value: 0 },
    ])

/**
 * A table of the values at the end of the time range, one row for each set of labels.
 * @param {string} title
 * @param {string} description
 * @param {Record<string, string>} labels the headings of the labels
 * @param {{ heading: string, expr: string, unit: string }[]} columns
 */
function table(title, description, labels, columns) {
  const refIds = columns.map((_, index) => String.fromCharCode('A'.charCodeAt(0) + index))
  const renameByName = { ...labels }
  columns.forEach(({ heading }, index) => {
    renameByName[`Value #${refIds[index] ?? ''}`] = heading
  })
  const indexByName = Object.fromEntries(Object.keys(renameByName).map((name, at) => [name, at]))
  const panel = new TableBuilder()
    .id(++panels)
    .title(title)
    .description(description)
    .datasource(datasource)
    .span(24)
    .height(8)
    .unit('short')
    .withTransformation({ id: 'merge', options: {} })
    .withTransformation({
      id: 'organize',
      options: { excludeByName: { Time: true }, indexByName, renameByName },
    })
  columns.forEach(({ heading, expr, unit }, index) => {
    panel.withTarget(now(refIds[index] ?? '', expr))
    panel.overrideByName(heading, [{ id: 'unit', value: unit }])
  })
  return panel
}

const label = (/** @type {string} */ name, /** @type {string} */ title, selector = '') =>
  new QueryVariableBuilder(name)
    .label(title)
    .datasource(datasource)
    .query({
      query: `label_values({__name__=~"replication_lag_seqno|replication:lag_seqno"${selector}}, ${name})`,
      refId: name,
    })
    .refresh(VariableRefresh.OnTimeRangeChanged)
    .sort(VariableSort.AlphabeticalAsc)
    .multi(true)
    .includeAll(true)
    // Also selects the followers that have no name.
    .allValue('.*')
    .current({ text: 'All', value: '$__all' })

const threshold = (
  /** @type {string} */ name,
  /** @type {string} */ title,
  /** @type {string} */ value,
) =>
  new TextBoxVariableBuilder(name).label(title).defaultValue(value).current({ text: value, value })

// Version 2 of dashboards needs Grafana 12.
// eslint-disable-next-line @typescript-eslint/no-deprecated
const dashboard = new DashboardBuilder('Replication lag')
  .uid('replication-lag')
  .description('How far each follower is behind its leader, and where it is stuck.')
  .tags(['replication', 'opentelemetry'])
  .refresh('30s')
  .time({ from: 'now-1h', to: 'now' })
  .timezone('browser')
  .editable()
  .tooltip(DashboardCursorSync.Crosshair)
  .withVariable(new DatasourceVariableBuilder('datasource').label('Data source').type('prometheus'))
  .withVariable(label('shard', 'Shard'))
  .withVariable(label('replica', 'Replica', ', shard=~"$shard"'))
  .withVariable(threshold('behind', 'Far behind: seconds', '30'))
  .withVariable(threshold('kept', 'Log kept: positions', '10e9'))

  .withRow(new RowBuilder('Now').id(++panels))
  .withPanel(
    stat('Followers', 'How many followers are reported.').withTarget(
      now('A', `count(${connected} or ${lagSeqno})`),
    ),
  )
  .withPanel(
    stat('Worst lag', 'The lag of the follower that is furthest behind.')
      .unit('s')
      .withTarget(now('A', `max(${lagSeconds})`)),
  )
  .withPanel(
    stat('Far behind', 'How many followers are more seconds behind than the threshold above.')
      .thresholds(colors(...RED_FROM_1))
      .withTarget(now('A', orZero(`count(${lagSeconds} > $behind)`, lagSeconds))),
  )
  .withPanel(
    stat('Disconnected', 'How many followers are not connected to their leader.')
      .thresholds(colors(...RED_FROM_1))
      .withTarget(now('A', orZero(`count(${connected} == 0)`, connected))),
  )
  .withPanel(
    stat('Most log kept', 'The most log that a leader keeps for one follower, in positions.')
      .unit('short')
      .withTarget(now('A', `max(${retained})`)),
  )
  .withPanel(
    stat('Sources that fail', 'How many sources could not be read the last time.')
      .thresholds(colors(...RED_FROM_1))
      .withTarget(
        now(
          'A',
          orZero(`count(${ofSources('replication_source_up')} == 0)`, 'replication_source_up'),
        ),
      ),
  )
  .withPanel(
    table(
      'Worst followers',
      'The ten followers that are furthest behind in seconds; where no seconds are reported, in positions.',
      { shard: 'Shard', replica: 'Replica' },
      [
        { heading: 'Lag in seconds', expr: `topk(10, ${lagSeconds})`, unit: 's' },
        {
          heading: 'Lag in positions',
          expr: `${lagSeqno} and on (shard, replica) ${furthestBehind}`,
          unit: 'short',
        },
        {
          heading: 'Connected',
          expr: `${connected} and on (shard, replica) ${furthestBehind}`,
          unit: 'bool_yes_no',
        },
      ],
    ),
  )

  .withRow(new RowBuilder('Lag').id(++panels))
  .withPanel(
    withThreshold(
      graph(
        'Lag in seconds',
        'The age of the oldest entry that the leader has and the follower has not applied. The 20 worst at each moment.',
      )
        .unit('s')
        .min(0)
        .withTarget(curve('A', top(lagSeconds))),
      'behind',
    ),
  )
  .withPanel(
    graph(
      'Lag in positions',
      'Leader seqno minus applied seqno, in the unit of the system: bytes of WAL in PostgreSQL. The 20 worst at each moment.',
    )
      .unit('short')
      .axisSoftMin(0)
      .withTarget(curve('A', top(lagSeqno))),
  )

  .withRow(new RowBuilder('Where it is stuck').id(++panels))
  .withPanel(
    graph(
      'Network: not received',
      'The part of the lag that the follower has not received. Only for sources that know it.',
    )
      .unit('short')
      .axisSoftMin(0)
      .withTarget(curve('A', top(receiveLag))),
  )
  .withPanel(
    graph(
      'Replay: received, not applied',
      'The rest of the lag: what the follower has received and not applied. Only for sources that know it.',
    )
      .unit('short')
      .axisSoftMin(0)
      .withTarget(curve('A', top(replayLag))),
  )

  .withRow(new RowBuilder('Log and connections').id(++panels))
  .withPanel(
    withThreshold(
      graph(
        'Log kept for followers',
        'How much log the leader keeps for a follower. It grows while a follower with a slot is away. Only for sources that know it.',
      )
        .unit('short')
        .min(0)
        .withTarget(curve('A', top(retained))),
      'kept',
    ),
  )
  .withPanel(
    graph('Followers that are connected', 'How many followers of each shard are connected.')
      .unit('none')
      .min(0)
      .decimals(0)
      .lineInterpolation(LineInterpolation.StepAfter)
      .withTarget(curve('A', top(`sum by (shard) (${connected})`), '{{shard}}')),
  )

  .withRow(new RowBuilder('Sources').id(++panels))
  .withPanel(
    table(
      'Which sources report',
      'Each source that was reported in the last day. One that is missing in the other columns is no longer reported: its process is gone.',
      { job: 'Job', instance: 'Instance', source: 'Source' },
      [
        {
          heading: 'Seen in the last day',
          expr: `max by (job, instance, source) (max_over_time(replication_source_up[1d])) >= bool 0`,
          unit: 'bool_yes_no',
        },
        { heading: 'Can be read', expr: ofSources('replication_source_up'), unit: 'bool_yes_no' },
        {
          heading: 'Time since the last read',
          expr: `time() - ${ofSources('replication_source_last_success_timestamp_seconds')}`,
          unit: 's',
        },
      ],
    ),
  )
  .withPanel(
    graph('Sources that can be read', '1 if the last read has succeeded, 0 if it has failed.')
      .unit('bool_yes_no')
      .min(0)
      .max(1)
      .lineInterpolation(LineInterpolation.StepAfter)
      .withTarget(curve('A', ofSources('replication_source_up'), '{{source}} {{instance}}')),
  )
  .withPanel(
    graph(
      'Time since the last read',
      'How old the last reading of each source is. It stays below some poll intervals. Red: 2 minutes, as in the alert.',
    )
      .unit('s')
      .min(0)
      .thresholds(colors({ value: 120, color: 'red' }))
      .thresholdsStyle(
        new GraphThresholdsStyleConfigBuilder().mode(GraphThresholdsStyleMode.Dashed),
      )
      .withTarget(
        curve(
          'A',
          `time() - ${ofSources('replication_source_last_success_timestamp_seconds')}`,
          '{{source}} {{instance}}',
        ),
      ),
  )

  .withRow(new RowBuilder('Shards').id(++panels))
  .withPanel(
    table('By shard', 'The followers of each shard, and the worst of each.', { shard: 'Shard' }, [
      { heading: 'Followers', expr: `count by (shard) (${lagSeqno})`, unit: 'none' },
      { heading: 'Connected', expr: `sum by (shard) (${connected})`, unit: 'none' },
      { heading: 'Lag in seconds', expr: `max by (shard) (${lagSeconds})`, unit: 's' },
      { heading: 'Lag in positions', expr: `max by (shard) (${lagSeqno})`, unit: 'short' },
      { heading: 'Log kept', expr: `max by (shard) (${retained})`, unit: 'short' },
    ]),
  )
  .build()

const path = fileURLToPath(new URL('dashboard.json', import.meta.url))
const json = await format(JSON.stringify(dashboard), {
  ...(await resolveConfig(path)),
  parser: 'json',
})
if (process.argv.includes('--print')) process.stdout.write(json)
else writeFileSync(path, json)
