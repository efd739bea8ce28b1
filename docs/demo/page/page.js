// Plots the history of the demo, which it fetches once a second.
import uPlot from 'uplot'

/**
 * @typedef {object} History
 * @property {string} servers
 * @property {string} unit
 * @property {string} metrics
 * @property {string} sentence
 * @property {number[]} times
 * @property {{ title: string, from: number, to: number }[]} scenes
 * @property {Record<string, { lags: (number | null)[], seconds: (number | null)[] }>} followers
 */

const COLORS = ['#2f81f7', '#d29922', '#a371f7', '#3fb950']
const WIDTH = Math.min(960, document.documentElement.clientWidth - 48)
const HEIGHT = 240

/** @param {string} id */
const element = (id) => /** @type {HTMLElement} */ (document.getElementById(id))
/** @param {string} name */
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name)

/** @type {History} */
let history
/** @type {uPlot[]} */
let plots = []
let drawn = ''

/**
 * @param {'lags' | 'seconds'} quantity
 * @param {(value: number) => string} format
 */
function plot(quantity, format) {
  const axis = { stroke: () => color('--muted'), grid: { stroke: () => color('--panel') } }
  return new uPlot(
    {
      width: WIDTH,
      height: HEIGHT,
      scales: {
        y: { range: (_, __, max) => [0, Math.max(max, quantity === 'seconds' ? 5 : 1000)] },
      },
      axes: [
        { ...axis, space: 90, values: (_, times) => times.map(formatTime) },
        { ...axis, size: 70, values: (_, values) => values.map(format) },
      ],
      series: [
        { value: (/** @type {uPlot} */ _, /** @type {number} */ time) => formatTime(time) },
        ...Object.keys(history.followers).map((label, index) => ({
          label,
          stroke: COLORS[index % COLORS.length] ?? '',
          width: 2,
          value: (/** @type {uPlot} */ _, /** @type {number | null} */ value) =>
            value === null ? '-' : format(value),
        })),
      ],
      hooks: { drawClear: [shade], draw: [name] },
    },
    dataOf(quantity),
    element(quantity),
  )
}

/** Shades the times in which something is broken. @param {uPlot} plot */
function shade(plot) {
  const { ctx, bbox } = plot
  ctx.fillStyle = color('--panel')
  for (const { left, right } of scenesOf(plot)) {
    if (right > left) ctx.fillRect(left, bbox.top, right - left, bbox.height)
  }
}

/** Says what is broken then. @param {uPlot} plot */
function name(plot) {
  const { ctx, bbox } = plot
  ctx.save()
  ctx.textAlign = 'left'
  ctx.font = `${12 * devicePixelRatio}px system-ui, sans-serif`
  ctx.fillStyle = color('--muted')
  for (const { title, left, right } of scenesOf(plot)) {
    const isWide = right - left > 60 * devicePixelRatio
    if (isWide) ctx.fillText(title, left + 6, bbox.top + 16 * devicePixelRatio)
  }
  ctx.restore()
}

/** The scenes that are visible, in pixels. @param {uPlot} plot */
function scenesOf(plot) {
  const { left: start, width } = plot.bbox
  return history.scenes.map(({ title, from, to }) => ({
    title,
    left: Math.max(start, plot.valToPos(from, 'x', true)),
    right: Math.min(start + width, plot.valToPos(to, 'x', true)),
  }))
}

/** @param {'lags' | 'seconds'} quantity */
function dataOf(quantity) {
  /** @type {uPlot.AlignedData} */
  const data = [history.times, ...Object.values(history.followers).map((each) => each[quantity])]
  return data
}

/** @param {number} seconds since 1970 */
function formatTime(seconds) {
  return new Date(seconds * 1000).toTimeString().slice(0, 8)
}

/** @param {number} bytes */
function formatBytes(bytes) {
  const units = ['B', 'kB', 'MB', 'GB']
  const index = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(bytes) / 3))
  return `${Number((bytes / 1000 ** index).toFixed(1))} ${units[index]}`
}

/** Shows the newest values in the legends, unless the pointer chooses others. */
function showNewest() {
  for (const each of plots) {
    if (each.cursor.idx == null) each.setLegend({ idx: history.times.length - 1 })
  }
}

async function refresh() {
  /** @type {unknown} */
  const json = await (await fetch('history')).json()
  history = /** @type {History} */ (json)
  const { servers, unit, metrics, sentence, followers } = history
  element('servers').textContent = servers
  element('unit').textContent = unit
  element('sentence').textContent = sentence
  element('metrics').textContent = metrics
  element('metrics').setAttribute('href', metrics)
  const names = Object.keys(followers).join()
  if (names === drawn) {
    plots[0]?.setData(dataOf('seconds'))
    plots[1]?.setData(dataOf('lags'))
    showNewest()
    return
  }
  drawn = names
  for (const each of plots) each.destroy()
  plots = [
    plot('seconds', (value) => `${Number(value.toFixed(1))} s`),
    plot('lags', unit === 'bytes' ? formatBytes : String),
  ]
  showNewest()
}

for (;;) {
  try {
    await refresh()
  } catch (error) {
    element('sentence').textContent = `The demo has ended: ${String(error)}`
  }
  await new Promise((resolve) => setTimeout(resolve, 1000))
}
