// Shows the history of the demo, which it fetches once a second.
import { drawChart, format, listTitles, setData } from './charts.js'

/**
 * @typedef {object} History
 * @property {string} servers
 * @property {string} unit
 * @property {string} metrics
 * @property {string} sentence
 * @property {number[]} times
 * @property {import('./charts.js').Incidents} incidents
 * @property {Record<string, { lags: (number | null)[], seconds: (number | null)[] }>} followers
 */

const CALM = 'All followers apply what they receive.'
const QUANTITIES = /** @type {const} */ (['seconds', 'lags'])

/** @param {string} id */
const get = (id) => /** @type {HTMLElement} */ (document.getElementById(id))

/** @type {History} */
let history
/** @type {Partial<Record<'seconds' | 'lags', ReturnType<typeof drawChart>>>} */
const charts = {}
let drawn = ''

async function refresh() {
  /** @type {unknown} */
  const json = await (await fetch('history')).json()
  history = /** @type {History} */ (json)
  const { servers, unit, metrics, sentence, followers, incidents, times } = history
  get('servers').textContent = servers
  get('unit').textContent = unit
  get('sentence').textContent = sentence
  get('metrics').textContent = metrics
  get('metrics').setAttribute('href', metrics)
  get('incidents').replaceChildren(...listTitles(incidents))
  announce(incidents.scenes.findLast(({ to }) => to > (times.at(-1) ?? 0) - 3)?.title ?? CALM)
  const names = Object.keys(followers).join()
  if (names !== drawn) draw()
  drawn = names
  for (const quantity of QUANTITIES) update(quantity)
}

/** Draws the charts from scratch. */
function draw() {
  for (const quantity of QUANTITIES) {
    charts[quantity]?.destroy()
    charts[quantity] = drawChart(get(quantity), {
      times: history.times,
      lines: linesOf(quantity),
      unit: quantity === 'seconds' ? 's' : history.unit,
      isLive: true,
      incidents: () => history.incidents,
    })
  }
}

/** @param {'seconds' | 'lags'} quantity */
function linesOf(quantity) {
  return Object.entries(history.followers).map(([label, follower]) => {
    return { label, values: follower[quantity] }
  })
}

/** Shows the newest values, and says them for those who do not see the chart. @param {'seconds' | 'lags'} quantity */
function update(quantity) {
  const plot = charts[quantity]
  if (!plot) return
  const lines = linesOf(quantity)
  setData(plot, history.times, lines)
  const isSeconds = quantity === 'seconds'
  const say = (/** @type {number} */ value) => format(value, isSeconds ? 's' : history.unit)
  const followers = lines.map(({ label, values }) => {
    const newest = values.at(-1)
    const highest = Math.max(0, ...values.map((value) => value ?? 0))
    return `${label} ${newest == null ? 'unknown' : say(newest)}, highest ${say(highest)}`
  })
  const title = `Lag in ${isSeconds ? 'seconds' : history.unit}, now and in the last minutes`
  plot.ctx.canvas.setAttribute('role', 'img')
  plot.ctx.canvas.setAttribute('aria-label', [title, ...followers, ''].join('. '))
}

/** A screen reader announces this when it changes, unlike the sentence, which has new numbers each second. */
function announce(/** @type {string} */ text) {
  if (get('announcement').textContent !== text) get('announcement').textContent = text
}

new ResizeObserver(() => {
  for (const plot of Object.values(charts)) {
    plot.setSize({ width: get('seconds').clientWidth, height: plot.height })
  }
}).observe(document.body)
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw)

for (;;) {
  await refresh().catch((/** @type {unknown} */ error) => {
    get('sentence').textContent = `The demo has ended: ${String(error)}`
    announce('The demo has ended.')
  })
  await new Promise((resolve) => setTimeout(resolve, 1000))
}
