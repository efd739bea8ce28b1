// What the page of the demo and the pictures of the dashboard are drawn with.
import uPlot from 'uplot'

/** @typedef {{ label: string, values: (number | null)[], isThreshold?: boolean }} Line */
/**
 * When something was broken, in seconds since 1970. `titles` are numbered in the graphs.
 * @typedef {{ titles: string[], scenes: { title: string, from: number, to: number }[] }} Incidents
 */
/**
 * @typedef {object} Chart
 * @property {number[]} times in seconds since 1970
 * @property {Line[]} lines
 * @property {string} unit
 * @property {boolean} [isStep] whether values change in steps
 * @property {boolean} [isLive] whether the legend shows values, the newest or those at the pointer
 * @property {() => Incidents} incidents
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
  body { display: grid; grid-template-columns: repeat(24, minmax(0, 1fr)); gap: 8px; margin: 0 auto;
    padding: 10px; max-width: 1080px; background: var(--page); color: var(--text) }
  header, h2, p { grid-column: span 24; margin: 2px 4px 0; overflow-wrap: anywhere }
  h1 { margin: 0 0 6px; font-size: 19px }
  h2, th, a { color: var(--soft); font-size: 14px }
  h3 { margin: 8px 12px; font-weight: 400; font-size: 15px }
  header span { margin-right: 18px; white-space: nowrap }
  header b { margin-right: 6px; padding: 0 6px; border-radius: 9px; background: var(--soft); color: var(--page) }
  section { overflow: hidden; border: 1px solid var(--line); border-radius: 4px; background: var(--panel) }
  .stat { margin: 4px 0 14px; text-align: center; font: 600 32px system-ui, sans-serif }
  section > table { width: 100%; border-collapse: collapse; table-layout: fixed; text-align: left }
  section > table :is(td, th) { padding: 5px 12px; border-top: 1px solid var(--line) }
  .u-legend { padding-bottom: 6px }
  .u-legend th { font-weight: 400 }`
document.head.append(element('style', STYLE))

/** Lines differ in their pattern too, because not everyone sees the color. */
const DASHES = [[], [8, 4], [2, 4], [12, 3, 3, 3]]
/** The labels that have a color. @type {string[]} */
const labels = []

/** @param {string} name of a color above */
export function color(name) {
  document.body.style.outlineColor = `var(--${name})`
  return getComputedStyle(document.body).outlineColor
}

/** @param {string} tag @param {(Node | string)[]} children */
export function element(tag, ...children) {
  const made = document.createElement(tag)
  made.append(...children)
  return made
}

/** What each number in the graphs stands for. @param {Incidents} incidents */
export function listTitles({ titles }) {
  return titles.map((title, index) => element('span', element('b', `${index + 1}`), title))
}

/** @param {number} value @param {string} unit as in Grafana, or `bytes` */
export function format(value, unit) {
  if (unit === 'bool_yes_no') return value ? 'Yes' : 'No'
  if (unit === 's') return `${Number(value.toFixed(1))} s`
  if (unit === 'none') return `${Math.round(value)}`
  const index = value < 1000 ? 0 : value < 1e6 ? 1 : 2
  const suffix = (unit === 'bytes' ? ['B', 'kB', 'MB'] : ['', 'K', 'M'])[index] ?? ''
  return `${Number((value / 1000 ** index).toPrecision(3))} ${suffix}`.trim()
}

/** @param {number} time in seconds since 1970 */
const formatTime = (time) => new Date(time * 1000).toTimeString().slice(0, 8)

/** Draws a chart at the end of a box. @param {HTMLElement} box @param {Chart} chart */
export function drawChart(box, { times, lines, unit, isStep = false, isLive = false, incidents }) {
  const least = { s: 1, short: 1000, bytes: 1000 }[unit] ?? 3
  const grid = { stroke: color('line'), width: 0.5 }
  const axis = { stroke: color('soft'), grid, ticks: { show: false } }
  /** @type {uPlot.Series[]} */
  const series = lines.map(({ label, isThreshold }) => {
    if (!isThreshold && !labels.includes(label)) labels.push(label)
    const index = labels.indexOf(label) % DASHES.length
    return {
      label,
      stroke: color(isThreshold ? 'red' : `line-${index}`),
      width: 2,
      points: { show: false },
      dash: (isThreshold ? [10, 10] : DASHES[index]) ?? [],
      value: (plot, value, line, at) => {
        const shown = at == null ? plot.data[line]?.at(-1) : value
        return shown == null ? '-' : format(shown, unit)
      },
      ...(isStep && uPlot.paths.stepped && { paths: uPlot.paths.stepped({ align: 1 }) }),
    }
  })
  return new uPlot(
    {
      width: box.clientWidth,
      height: 210,
      cursor: { show: isLive },
      legend: { live: isLive },
      scales: {
        y: { range: (_, __, max) => [0, unit === 'bool_yes_no' ? 1 : Math.max(max * 1.1, least)] },
      },
      axes: [
        { ...axis, size: 30, space: 90, values: (_, ticks) => ticks.map(formatTime) },
        {
          ...axis,
          size: 60,
          ...(isStep && { incrs: [1, 2, 5] }),
          values: (_, ticks) => ticks.map((tick) => format(tick, unit)),
        },
      ],
      series: [
        {
          label: 'Time',
          value: (plot, time, _, at) => formatTime(at === null ? (plot.data[0].at(-1) ?? 0) : time),
        },
        ...series,
      ],
      hooks: { drawClear: [(plot) => shade(plot, incidents())] },
    },
    dataOf(times, lines),
    box,
  )
}

/** Replaces what a chart shows. @param {uPlot} plot @param {number[]} times @param {Line[]} lines */
export function setData(plot, times, lines) {
  plot.setData(dataOf(times, lines))
}

/** @param {number[]} times @param {Line[]} lines */
function dataOf(times, lines) {
  return /** @type {uPlot.AlignedData} */ ([times, ...lines.map(({ values }) => values)])
}

/** Shades each incident, and writes its number above it. @param {uPlot} plot @param {Incidents} incidents */
function shade(plot, { titles, scenes }) {
  const { ctx, bbox } = plot
  ctx.save()
  ctx.textAlign = 'center'
  ctx.font = `600 ${12 * devicePixelRatio}px system-ui, sans-serif`
  for (const { title, from, to } of scenes) {
    const left = Math.max(plot.valToPos(from, 'x', true), bbox.left)
    const right = Math.min(plot.valToPos(to, 'x', true), bbox.left + bbox.width)
    if (right <= left) continue
    ctx.fillStyle = color('band')
    ctx.fillRect(left, bbox.top, right - left, bbox.height)
    ctx.fillStyle = color('soft')
    ctx.fillText(`${titles.indexOf(title) + 1}`, (left + right) / 2, bbox.top - 5)
  }
  ctx.restore()
}
