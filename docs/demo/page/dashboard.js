// Draws the panels of the Grafana dashboard, with what Prometheus answers to their queries.
import uPlot from 'uplot'

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
 * @property {{ title: string, from: number, to: number }[]} scenes
 * @property {number} start in seconds since 1970
 * @property {number} end
 */

// The colors of lines are from the palette of Okabe and Ito, which color-blind people can tell apart.
const STYLE = `
  :root { color-scheme: light dark; font: 14px/1.4 system-ui, sans-serif;
    --page: light-dark(#f0f2f5, #0d1117); --panel: light-dark(#ffffff, #171c24);
    --text: light-dark(#24292f, #e6edf3); --soft: light-dark(#57606a, #9198a1);
    --line: light-dark(#d0d7de, #3d444d); --band: light-dark(#6e778129, #9198a138);
    --red: light-dark(#cf222e, #ff7b72); --orange: light-dark(#bc4c00, #f0883e);
    --green: light-dark(#1a7f37, #3fb950); --line-0: light-dark(#0072b2, #56b4e9);
    --line-1: light-dark(#d55e00, #ff9d4d); --line-2: light-dark(#009e73, #2fcf9f);
    --line-3: light-dark(#6f42c1, #b392f0) }
  body { display: grid; grid-template-columns: repeat(24, minmax(0, 1fr)); gap: 8px; margin: 0;
    padding: 10px; background: var(--page); color: var(--text) }
  header, h2 { grid-column: span 24; margin: 2px 4px 0 }
  h1 { margin: 0 0 6px; font-size: 19px }
  h2, th { color: var(--soft); font-size: 14px }
  h3 { margin: 8px 12px; font-weight: 400; font-size: 15px }
  header span { margin-right: 18px; white-space: nowrap }
  header b { margin-right: 6px; padding: 0 6px; border-radius: 9px; background: var(--soft); color: var(--page) }
  section { overflow: hidden; border: 1px solid var(--line); border-radius: 4px; background: var(--panel) }
  .stat { margin: 4px 0 14px; text-align: center; font: 600 32px system-ui, sans-serif }
  section > table { width: 100%; border-collapse: collapse; table-layout: fixed; text-align: left }
  section > table :is(td, th) { padding: 5px 12px; border-top: 1px solid var(--line) }
  .u-legend { padding-bottom: 6px }
  .u-legend th { font-weight: 400 }`

const { picture } = /** @type {{ picture: Picture }} */ (/** @type {unknown} */ (globalThis))
const { dashboard, titles, scenes, start, end } = picture
/** The titles of the incidents, numbered as in the graphs. */
const incidents = [...new Set(scenes.map(({ title }) => title))]
/** The followers and sources that have a color. @type {string[]} */
const labels = []

/** @param {string} name */
function color(name) {
  document.body.style.outlineColor = `var(--${name})`
  return getComputedStyle(document.body).outlineColor
}

/** @param {string} tag @param {(Node | string)[]} children */
function element(tag, ...children) {
  const made = document.createElement(tag)
  made.append(...children)
  return made
}

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

/** @param {number} value @param {string} unit as in Grafana */
function format(value, unit) {
  if (unit === 'bool_yes_no') return value ? 'Yes' : 'No'
  if (unit === 's') return `${Number(value.toFixed(1))} s`
  if (unit === 'none' || value < 1000) return `${Math.round(value)}`
  const [factor, suffix] = value < 1e6 ? [1e3, 'K'] : [1e6, 'M']
  return `${Number((value / factor).toPrecision(3))} ${suffix}`
}

/** @param {Panel} panel */
async function stat({ targets, fieldConfig }) {
  const [series] = await ask('query', targets[0]?.expr ?? '', { time: end })
  const value = Number(series?.value[1])
  const { unit, thresholds } = fieldConfig.defaults
  const box = element('div', series ? format(value, unit) : 'No data')
  const step = thresholds?.steps.findLast((each) => each.value === null || value >= each.value)
  box.className = 'stat'
  box.style.color = `var(--${step?.color ?? 'text'})`
  return box
}

/** @param {Panel} panel */
async function table({ targets, transformations, fieldConfig }) {
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
  return element('table', ...[headings, ...cells].map((row) => element('tr', ...row)))
}

/** @param {Panel} panel @param {number} width */
async function graph({ targets, fieldConfig }, width) {
  const { unit, custom } = fieldConfig.defaults
  const isStep = custom?.lineInterpolation === 'stepAfter'
  const times = Array.from({ length: end - start + 1 }, (_, index) => start + index)
  /** @type {(number | null)[][]} */
  const columns = []
  /** @type {uPlot.Series[]} */
  const lines = []
  for (const { refId, expr, legendFormat = '' } of targets) {
    for (const { metric, values } of await ask('query_range', expr, { start, end, step: 1 })) {
      const label = legendFormat.replaceAll(
        /{{(\w+)}}/g,
        (_, /** @type {string} */ name) => metric[name] ?? '',
      )
      const isThreshold = refId === 'threshold'
      if (!isThreshold && !labels.includes(label)) labels.push(label)
      const found = new Map(values.map(([time, value]) => [time, Number(value)]))
      columns.push(times.map((time) => found.get(time) ?? null))
      lines.push({
        label,
        stroke: color(isThreshold ? 'red' : `line-${labels.indexOf(label) % 4}`),
        width: 2,
        points: { show: false },
        ...(isThreshold && { dash: [10, 10] }),
        ...(isStep && uPlot.paths.stepped && { paths: uPlot.paths.stepped({ align: 1 }) }),
      })
    }
  }
  const least = { s: 1, short: 1000 }[unit] ?? 3
  const grid = { stroke: color('line'), width: 0.5 }
  const axis = { stroke: color('soft'), grid, ticks: { show: false } }
  const timeOf = (/** @type {number} */ time) => new Date(time * 1000).toISOString().slice(11, 19)
  const box = element('div')
  new uPlot(
    {
      width,
      height: 210,
      cursor: { show: false },
      legend: { live: false },
      scales: {
        y: { range: (_, __, max) => [0, unit === 'bool_yes_no' ? 1 : Math.max(max * 1.1, least)] },
      },
      axes: [
        { ...axis, size: 30, space: 90, values: (_, ticks) => ticks.map(timeOf) },
        {
          ...axis,
          size: 60,
          ...(isStep && { incrs: [1, 2, 5] }),
          values: (_, ticks) => ticks.map((tick) => format(tick, unit)),
        },
      ],
      series: [{}, ...lines],
      hooks: { drawClear: [shade] },
    },
    [times, ...columns],
    box,
  )
  return box
}

/** Shades each incident, and writes its number above it. @param {uPlot} plot */
function shade(plot) {
  const { ctx, bbox } = plot
  ctx.save()
  ctx.textAlign = 'center'
  ctx.font = `600 ${12 * devicePixelRatio}px system-ui, sans-serif`
  for (const { title, from, to } of scenes) {
    const left = plot.valToPos(from, 'x', true)
    const right = Math.min(plot.valToPos(to, 'x', true), bbox.left + bbox.width)
    ctx.fillStyle = color('band')
    ctx.fillRect(left, bbox.top, right - left, bbox.height)
    ctx.fillStyle = color('soft')
    ctx.fillText(`${incidents.indexOf(title) + 1}`, (left + right) / 2, bbox.top - 5)
  }
  ctx.restore()
}

document.head.append(element('style', STYLE))
const names = incidents.map((title, index) => element('span', element('b', `${index + 1}`), title))
const heading = titles ? [] : [element('h1', dashboard.title)]
document.body.append(element('header', ...heading, ...names))
for (const panel of dashboard.panels) {
  if (titles && !titles.includes(panel.title)) continue
  if (panel.type === 'row') {
    document.body.append(element('h2', panel.title))
    continue
  }
  const section = document.body.appendChild(element('section', element('h3', panel.title)))
  section.style.gridColumn = `span ${panel.gridPos.w}`
  section.append(await { stat, table, timeseries: graph }[panel.type](panel, section.clientWidth))
}
document.body.id = 'drawn'
