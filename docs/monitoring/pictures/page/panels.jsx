// @ts-nocheck: see main.jsx.
import { formatValue } from '@perses-dev/core'
import { Panel } from '@perses-dev/dashboards'
import { DataQueriesProvider } from '@perses-dev/plugin-system'
import { useQueries } from '@tanstack/react-query'

/** The height of a unit of the grid, in pixels. */
const UNIT = 34

const FORMATS = {
  s: { unit: 'seconds' },
  short: { unit: 'decimal', shortValues: true },
  none: { unit: 'decimal', decimalPlaces: 0 },
  bool_yes_no: { unit: 'decimal', decimalPlaces: 0 },
}

const { dashboard, variables, end } = window.picture
/** The values of the dashboard's variables. */
export const values = Object.fromEntries(
  dashboard.templating.list.map(({ name, allValue, current }) => [
    name,
    variables[name] ?? allValue ?? current?.value,
  ]),
)
const fill = (expr) => expr.replaceAll(/\$(\w+)/g, (_, name) => values[name])

/** A panel of the dashboard, or the heading of a row. */
export function Box({ panel, ink }) {
  const { w, h } = panel.gridPos
  const Content = { row: Row, table: Table, stat: Stat, timeseries: Graph }[panel.type]
  const height = panel.type === 'table' || panel.type === 'row' ? undefined : h * UNIT
  return (
    <div style={{ gridColumn: `span ${w}`, minWidth: 0, height }}>
      <Content panel={panel} ink={ink} />
    </div>
  )
}

function Row({ panel, ink }) {
  return (
    <h2 style={{ margin: '6px 6px 0', font: '700 15px Lato', color: ink.soft }}>{panel.title}</h2>
  )
}

function Perses({ panel, kind, spec, mode }) {
  const definitions = panel.targets.map(({ expr, legendFormat }) => ({
    kind: 'PrometheusTimeSeriesQuery',
    spec: { query: fill(expr), seriesNameFormat: legendFormat },
  }))
  return (
    <DataQueriesProvider definitions={definitions} options={{ mode }}>
      <Panel
        sx={{ height: '100%' }}
        panelOptions={{ showIcons: 'hover' }}
        definition={{
          kind: 'Panel',
          spec: { display: { name: panel.title }, plugin: { kind, spec } },
        }}
      />
    </DataQueriesProvider>
  )
}

function Stat({ panel, ink }) {
  const { unit, thresholds } = panel.fieldConfig.defaults
  const [base, ...steps] = thresholds?.steps ?? []
  const spec = {
    calculation: 'last-number',
    format: FORMATS[unit],
    valueFontSize: 34,
    thresholds: {
      defaultColor: ink[base?.color] ?? ink.text,
      steps: steps.map(({ value, color }) => ({ value, color: ink[color] })),
    },
  }
  return <Perses panel={panel} kind="StatChart" spec={spec} mode="instant" />
}

function Graph({ panel, ink }) {
  const { defaults, overrides } = panel.fieldConfig
  const { unit, min, max, custom = {} } = defaults
  const querySettings = panel.targets.map(({ refId, legendFormat }, queryIndex) => {
    const override = overrides.find(({ matcher }) => matcher.options === refId)
    const property = (id) => override?.properties.find((each) => each.id === id)?.value
    const color = property('color')?.fixedColor
    return {
      queryIndex,
      ...(color && { colorMode: 'fixed', colorValue: ink[color] }),
      ...(property('custom.lineStyle') && { lineStyle: 'dashed', areaOpacity: 0 }),
      // What is no follower does not have the color of one.
      ...(!/replica|threshold/.test(legendFormat) && { colorMode: 'fixed', colorValue: ink.other }),
    }
  })
  const spec = {
    yAxis: { min: min ?? custom.axisSoftMin, max, format: FORMATS[unit] },
    legend: { position: 'bottom', mode: 'list' },
    // A radius of 0 leaves out the points.
    visual: {
      lineWidth: 2,
      pointRadius: 0,
      areaOpacity: custom.fillOpacity / 100,
      palette: { mode: 'categorical' },
    },
    querySettings,
  }
  const settings = {
    isYesNo: unit === 'bool_yes_no',
    isStep: custom.lineInterpolation === 'stepAfter',
  }
  return (
    <div data-graph={JSON.stringify(settings)} style={{ height: '100%' }}>
      <Perses panel={panel} kind="TimeSeriesChart" spec={spec} mode="range" />
    </div>
  )
}

async function queryAtEnd(expr) {
  const query = new URLSearchParams({ query: fill(expr), time: end / 1000 })
  const { data } = await (await fetch(`/api/v1/query?${query}`)).json()
  return data.result
}

/** The values at the end. Perses' own table cannot show Yes and No. */
function Table({ panel, ink }) {
  const { renameByName } = panel.transformations.find(({ id }) => id === 'organize').options
  const results = useQueries({
    queries: panel.targets.map(({ expr }) => ({
      queryKey: [expr],
      queryFn: () => queryAtEnd(expr),
    })),
  })
  const rows = new Map()
  results.forEach(({ data = [] }, index) => {
    for (const { metric, value } of data) {
      const key = JSON.stringify(Object.entries(metric).sort())
      const row = rows.get(key) ?? { ...metric }
      row[`Value #${panel.targets[index].refId}`] = Number(value[1])
      rows.set(key, row)
    }
  })
  const unitOf = (heading) =>
    panel.fieldConfig.overrides.find(({ matcher }) => matcher.options === heading)?.properties[0]
      .value
  const show = (value, unit) => {
    if (typeof value !== 'number') return value
    if (unit === 'bool_yes_no') return value ? 'Yes' : 'No'
    return formatValue(value, FORMATS[unit])
  }
  const columns = Object.entries(renameByName)
  const cell = { textAlign: 'left', padding: '5px 12px', borderTop: `1px solid ${ink.line}` }
  return (
    <div
      style={{ background: ink.panel, border: `1px solid ${ink.line}`, borderRadius: 4 }}
      data-table={rows.size}
    >
      <div style={{ font: '400 16px Lato', padding: '9px 12px' }}>{panel.title}</div>
      <table
        style={{
          width: '100%',
          borderCollapse: 'collapse',
          font: '400 14px Lato',
          tableLayout: 'fixed',
        }}
      >
        <thead>
          <tr style={{ color: ink.soft }}>
            {columns.map(([name, heading]) => (
              <th key={name} style={cell}>
                {heading}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {[...rows].map(([key, row]) => (
            <tr key={key}>
              {columns.map(([name, heading]) => (
                <td key={name} style={cell}>
                  {show(row[name], unitOf(heading))}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}
