// Draws the panels of the Grafana dashboard, with what Prometheus answers to their queries.
import { drawChart, element, format, listTitles } from './charts.js'

/** @typedef {{ metric: Record<string, string>, value: [number, string], values: [number, string][] }} Series */
/**
 * @typedef {object} Panel
 * @property {'row' | 'stat' | 'table' | 'timeseries'} type
 * @property {string} title
 * @property {{ w: number }} gridPos
 * @property {{ refId: string, expr: string, legendFormat?: string }[]} targets
 * @property {{ options: { renameByName?: Record<string, string> } }[]} transformations
 * @property {{ defaults: { unit: string, thresholds?: { steps: { value: number | null, color: string }[] },
 *   custom?: { lineInterpolation?: string } },
 *   overrides: { matcher: { options: string }, properties: { value: string }[] }[] }} fieldConfig
 */
/**
 * @typedef {object} Picture
 * @property {{ title: string, panels: Panel[] }} dashboard
 * @property {string[]} [titles] of the panels to draw, all by default
 * @property {string} prometheus its address
 * @property {Record<string, string>} variables
 * @property {import('./charts.js').Incidents} incidents
 * @property {number} start in seconds since 1970
 * @property {number} end
 */

const { picture } = /** @type {{ picture: Picture }} */ (/** @type {unknown} */ (globalThis))
const { dashboard, titles, incidents, start, end } = picture

/** @param {string} path @param {string} expr @param {Record<string, number>} times @returns {Promise<Series[]>} */
async function ask(path, expr, times) {
  const { prometheus, variables } = picture
  const fill = (/** @type {string} */ _, /** @type {string} */ name) => variables[name] ?? ''
  const url = new URL(`/api/v1/${path}`, prometheus)
  url.searchParams.set('query', expr.replaceAll(/\$(\w+)/g, fill))
  for (const [name, value] of Object.entries(times)) url.searchParams.set(name, String(value))
  const answer = /** @type {unknown} */ (await (await fetch(url)).json())
  const { data } = /** @type {{ data: { result: Series[] } }} */ (answer)
  return data.result
}

/** @param {Panel} panel @param {HTMLElement} section */
async function stat({ targets, fieldConfig }, section) {
  const [series] = await ask('query', targets[0]?.expr ?? '', { time: end })
  const value = Number(series?.value[1])
  const { unit, thresholds } = fieldConfig.defaults
  const box = element('div', series ? format(value, unit) : 'No data')
  const step = thresholds?.steps.findLast((each) => each.value === null || value >= each.value)
  box.className = 'stat'
  box.style.color = `var(--${step?.color ?? 'text'})`
  section.append(box)
}

/** @param {Panel} panel @param {HTMLElement} section */
async function table({ targets, transformations, fieldConfig }, section) {
  const columns = transformations.flatMap(({ options }) =>
    Object.entries(options.renameByName ?? {}),
  )
  /** @type {Map<string, Record<string, string>>} */
  const rows = new Map()
  for (const { refId, expr } of targets) {
    const id = `Value #${refId}`
    const heading = columns.find(([name]) => name === id)?.[1]
    const override = fieldConfig.overrides.find(({ matcher }) => matcher.options === heading)
    for (const { metric, value } of await ask('query', expr, { time: end })) {
      const key = JSON.stringify(Object.entries(metric).sort())
      const text = format(Number(value[1]), override?.properties[0]?.value ?? '')
      rows.set(key, { ...(rows.get(key) ?? metric), [id]: text })
    }
  }
  const cells = [...rows.values()].map((row) =>
    columns.map(([name]) => element('td', row[name] ?? '')),
  )
  const headings = columns.map(([, heading]) => element('th', heading))
  section.append(element('table', ...[headings, ...cells].map((row) => element('tr', ...row))))
}

/** @param {Panel} panel @param {HTMLElement} section */
async function graph({ targets, fieldConfig }, section) {
  const { unit, custom } = fieldConfig.defaults
  const times = Array.from({ length: end - start + 1 }, (_, index) => start + index)
  const lines = []
  for (const { refId, expr, legendFormat = '' } of targets) {
    for (const { metric, values } of await ask('query_range', expr, { start, end, step: 1 })) {
      const fill = (/** @type {string} */ _, /** @type {string} */ name) => metric[name] ?? ''
      const found = new Map(values.map(([time, value]) => [time, Number(value)]))
      lines.push({
        label: legendFormat.replaceAll(/{{(\w+)}}/g, fill),
        values: times.map((time) => found.get(time) ?? null),
        isThreshold: refId === 'threshold',
      })
    }
  }
  const isStep = custom?.lineInterpolation === 'stepAfter'
  drawChart(section, { times, lines, unit, isStep, incidents: () => incidents })
}

const heading = titles ? [] : [element('h1', dashboard.title)]
document.body.append(element('header', ...heading, ...listTitles(incidents)))
for (const panel of dashboard.panels) {
  if (titles && !titles.includes(panel.title)) continue
  if (panel.type === 'row') {
    document.body.append(element('h2', panel.title))
    continue
  }
  const section = document.body.appendChild(element('section', element('h3', panel.title)))
  section.style.gridColumn = `span ${panel.gridPos.w}`
  await { stat, table, timeseries: graph }[panel.type](panel, section)
}
document.body.id = 'drawn'
