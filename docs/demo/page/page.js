// Plots the history of the demo, which it fetches once a second.
import uPlot from 'uplot'

/**
 * @typedef {object} History
 * @property {string} servers
 * @property {string} unit
 * @property {string} metrics
 * @property {string} sentence
 * @property {number[]} times
 * @property {{ number: number, title: string, from: number, to: number }[]} scenes
 * @property {Record<string, { lags: (number | null)[], seconds: (number | null)[] }>} followers
 */

/** A line has a color and a pattern, because not everyone sees the color. */
const LINES = [
  { color: '--line-1', dash: [], border: 'solid' },
  { color: '--line-2', dash: [8, 4], border: 'dashed' },
  { color: '--line-3', dash: [2, 4], border: 'dotted' },
  { color: '--line-4', dash: [12, 3, 3, 3], border: 'double' },
]
const CALM = 'All followers apply what they receive.'
const HEIGHT = 240

/** @param {string} id */
const element = (id) => /** @type {HTMLElement} */ (document.getElementById(id))
/** @param {string} name */
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name)
const lineOf = (/** @type {number} */ index) => LINES[index % LINES.length] ?? LINES[0]

/** @type {History} */
let history

/** One quantity of all followers over time, with buttons that hide and show a follower. */
class Chart {
  #quantity
  #format
  /** @type {Map<string, HTMLButtonElement>} */
  #buttons = new Map()

  /**
   * @param {'lags' | 'seconds'} quantity
   * @param {(value: number) => string} format
   */
  constructor(quantity, format) {
    this.#quantity = quantity
    this.#format = format
    const box = element(quantity)
    box.replaceChildren()
    this.plot = new uPlot({ ...this.#options(), ...sizeOf(box) }, this.#data(), box)
    this.plot.ctx.canvas.setAttribute('role', 'img')
    const legend = document.createElement('div')
    legend.className = 'legend'
    legend.append(...Object.keys(history.followers).map((name, index) => this.#button(name, index)))
    box.append(legend)
    this.update()
  }

  /** Shows the newest values. */
  update() {
    this.plot.setData(this.#data())
    this.#showValues()
    this.plot.ctx.canvas.setAttribute('aria-label', this.#describe())
  }

  /** @returns {Omit<uPlot.Options, 'width' | 'height'>} */
  #options() {
    const axis = { stroke: () => color('--muted'), grid: { stroke: () => color('--grid') } }
    const least = this.#quantity === 'seconds' ? 5 : 1000
    return {
      legend: { show: false },
      scales: { y: { range: (_, __, max) => [0, Math.max(max, least)] } },
      axes: [
        { ...axis, space: 90, values: (_, times) => times.map(formatTime) },
        { ...axis, size: 64, values: (_, values) => values.map(this.#format) },
      ],
      series: [
        {},
        ...Object.keys(history.followers).map((label, index) => ({
          label,
          stroke: () => color(lineOf(index)?.color ?? ''),
          dash: lineOf(index)?.dash ?? [],
          width: 2,
        })),
      ],
      hooks: { drawClear: [shade], draw: [name], setCursor: [() => this.#showValues()] },
    }
  }

  #data() {
    const values = Object.values(history.followers).map((each) => each[this.#quantity])
    return /** @type {uPlot.AlignedData} */ ([history.times, ...values])
  }

  /**
   * @param {string} follower
   * @param {number} index
   */
  #button(follower, index) {
    const button = document.createElement('button')
    const [line, name, value] = ['line', 'name', 'value'].map((className) =>
      Object.assign(document.createElement('span'), { className }),
    )
    if (line) line.style.borderTop = `3px ${lineOf(index)?.border} var(${lineOf(index)?.color})`
    if (name) name.textContent = follower
    button.type = 'button'
    button.setAttribute('aria-pressed', 'true')
    button.append(...[line, name, value].flatMap((each) => each ?? []))
    button.addEventListener('click', () => {
      const show = button.getAttribute('aria-pressed') === 'false'
      button.setAttribute('aria-pressed', String(show))
      this.plot.setSeries(index + 1, { show })
    })
    this.#buttons.set(follower, button)
    return button
  }

  /** Shows the values where the pointer is, or else the newest, next to the names. */
  #showValues() {
    const index = this.plot.cursor.idx ?? history.times.length - 1
    for (const [follower, button] of this.#buttons) {
      const value = history.followers[follower]?.[this.#quantity][index]
      const text = button.querySelector('.value')
      if (text) text.textContent = value == null ? '-' : this.#format(value)
    }
  }

  /** The chart in words, for those who do not see it. */
  #describe() {
    const followers = Object.entries(history.followers).map(([follower, quantities]) => {
      const values = quantities[this.#quantity]
      const newest = values.at(-1)
      const highest = Math.max(0, ...values.map((value) => value ?? 0))
      return `${follower} ${newest == null ? 'unknown' : this.#format(newest)}, highest ${this.#format(highest)}`
    })
    return `Lag in ${this.#quantity === 'lags' ? history.unit : 'seconds'}, now and in the last minutes. ${followers.join('. ')}.`
  }
}

/** @param {HTMLElement} box */
function sizeOf(box) {
  return { width: box.clientWidth, height: HEIGHT }
}

/** Shades the times in which something is broken, and draws where they begin and end. @param {uPlot} plot */
function shade(plot) {
  const { ctx, bbox } = plot
  for (const { left, right } of scenesOf(plot)) {
    if (right <= left) continue
    ctx.fillStyle = color('--panel')
    ctx.fillRect(left, bbox.top, right - left, bbox.height)
    ctx.fillStyle = color('--muted')
    for (const edge of [left, right]) ctx.fillRect(edge, bbox.top, devicePixelRatio, bbox.height)
  }
}

/** Says what is broken then, or the number of it in the list if there is no room. @param {uPlot} plot */
function name(plot) {
  const { ctx, bbox } = plot
  ctx.save()
  ctx.textAlign = 'left'
  ctx.font = `${12 * devicePixelRatio}px system-ui, sans-serif`
  ctx.fillStyle = color('--muted')
  for (const { number, title, left, right } of scenesOf(plot)) {
    const margin = 4 * devicePixelRatio
    const texts = [`${number} ${title}`, `${number}`]
    const text = texts.find((each) => ctx.measureText(each).width + 2 * margin < right - left)
    if (text !== undefined) ctx.fillText(text, left + margin, bbox.top + 16 * devicePixelRatio)
  }
  ctx.restore()
}

/** The scenes that are visible, in pixels. @param {uPlot} plot */
function scenesOf(plot) {
  const { left: start, width } = plot.bbox
  return history.scenes.map((scene) => ({
    ...scene,
    left: Math.max(start, plot.valToPos(scene.from, 'x', true)),
    right: Math.min(start + width, plot.valToPos(scene.to, 'x', true)),
  }))
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

/** A screen reader announces this when it changes, unlike the sentence, which has new numbers each second. */
function announce(/** @type {string} */ text) {
  if (element('announcement').textContent !== text) element('announcement').textContent = text
}

function listIncidents() {
  const items = history.scenes.map(({ number, title, from, to }) => {
    const item = document.createElement('li')
    item.value = number
    item.textContent = `${title}, ${formatTime(from)} to ${formatTime(to)}`
    return item
  })
  element('incidents').replaceChildren(...items)
}

/** @type {Chart[]} */
let charts = []
let drawn = ''

async function refresh() {
  /** @type {unknown} */
  const json = await (await fetch('history')).json()
  history = /** @type {History} */ (json)
  const { servers, unit, metrics, sentence, followers, scenes, times } = history
  element('servers').textContent = servers
  element('unit').textContent = unit
  element('sentence').textContent = sentence
  element('metrics').textContent = metrics
  element('metrics').setAttribute('href', metrics)
  listIncidents()
  const current = scenes.findLast(({ to }) => to > (times.at(-1) ?? 0) - 3)
  announce(current?.title ?? CALM)
  const names = Object.keys(followers).join()
  if (names === drawn) {
    for (const chart of charts) chart.update()
    return
  }
  drawn = names
  for (const { plot } of charts) plot.destroy()
  charts = [
    new Chart('seconds', (value) => `${Number(value.toFixed(1))} s`),
    new Chart('lags', unit === 'bytes' ? formatBytes : String),
  ]
}

function fit() {
  for (const { plot } of charts)
    plot.setSize(sizeOf(/** @type {HTMLElement} */ (plot.root.parentElement)))
}

addEventListener('resize', fit)
// A scroll bar that appears makes the page narrower without a resize.
new ResizeObserver(fit).observe(document.body)
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
  for (const { plot } of charts) plot.redraw()
})

for (;;) {
  try {
    await refresh()
  } catch (error) {
    const text = `The demo has ended: ${String(error)}`
    element('sentence').textContent = text
    announce(text)
  }
  await new Promise((resolve) => setTimeout(resolve, 1000))
}
