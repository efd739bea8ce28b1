// @ts-nocheck: see main.jsx.
import { getInstanceByDom } from 'echarts/core'

/** The names of the incidents, numbered as in the graphs. */
export function Incidents({ incidents, ink }) {
  return (
    <div style={{ margin: '0 6px 8px', font: '400 14px/1.5 Lato', display: 'flow-root' }}>
      {incidents.map(({ name }, index) => (
        <span key={name} style={{ marginRight: 22, display: 'inline-block' }}>
          <b
            style={{
              background: ink.soft,
              color: ink.page,
              borderRadius: 9,
              padding: '0 6px',
              marginRight: 6,
            }}
          >
            {index + 1}
          </b>
          {name}
        </span>
      ))}
    </div>
  )
}

/**
 * Draws what Perses' graphs cannot: a numbered band for each incident, steps, and axes of counts and of Yes and No.
 * Returns whether all panels were there.
 */
export function annotate(incidents, ink) {
  const graphs = [...document.querySelectorAll('[data-graph]')].map((graph) => {
    const element = graph.querySelector('[_echarts_instance_]')
    return { chart: element && getInstanceByDom(element), ...JSON.parse(graph.dataset.graph) }
  })
  const isDrawn =
    graphs.every(({ chart }) => chart?.getOption().series.length > 0) &&
    document.querySelector('[data-table="0"], .MuiSkeleton-root') === null
  if (!isDrawn) return false
  for (const { chart, isYesNo, isStep } of graphs) {
    const setOption = chart.setOption.bind(chart)
    const extend = () => {
      const [first, ...others] = chart.getOption().series.map(({ id }) => ({ id }))
      if (!first) return
      const series = [{ ...first, markArea: bands(incidents, ink) }, ...others]
      setOption({
        // All points: a selection of them makes steps aslant.
        series: series.map((each) => ({
          ...each,
          sampling: 'none',
          ...(isStep && { step: 'end' }),
        })),
        grid: { top: 18, bottom: 6 },
        yAxis: [isYesNo ? yesNoAxis : isStep ? { minInterval: 1 } : { splitNumber: 4 }],
      })
    }
    extend()
    // Perses sets all options again when it draws again.
    chart.setOption = (...parameters) => {
      setOption(...parameters)
      extend()
    }
  }
  return true
}

const yesNoAxis = { interval: 1, axisLabel: { formatter: (value) => (value ? 'Yes' : 'No') } }

function bands(incidents, ink) {
  return {
    silent: true,
    itemStyle: { color: ink.band },
    label: { position: 'top', distance: 3, color: ink.soft, fontWeight: 700, fontSize: 12 },
    data: incidents.map(({ start, end }, index) => [
      { xAxis: start, name: String(index + 1) },
      { xAxis: end },
    ]),
  }
}
