/** One line of a scrape. @typedef {{ name: string, labels: Readonly<Record<string, string>>, value: number }} Sample */

/**
 * A parsed scrape.
 *
 * @typedef {object} Exposition
 * @property {readonly Sample[]} samples
 * @property {(name: string, labels?: Readonly<Record<string, string>>) => Sample[]} find returns the samples with this name
 *   and at least these labels
 * @property {(name: string, labels?: Readonly<Record<string, string>>) => number | undefined} value returns the value of the
 *   one sample that `find` returns, `undefined` if there is none. Throws if there are several.
 */

const SAMPLE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)(?: -?\d+)?$/s
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\[\\"n])*)"(?:, *|$)/y

/**
 * Parses the samples of Prometheus text exposition 0.0.4. Throws for malformed ones and for a series that occurs twice.
 *
 * The library parse-prometheus-text-format does neither: it merges series that occur twice, and those of a histogram, accepts
 * malformed lines, and drops a last line without an end.
 *
 * @param {string} text
 * @returns {Exposition}
 */
export function parsePrometheusText(text) {
  const lines = text.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('#'))
  /** @type {Set<string>} */
  const series = new Set()
  const samples = lines.map((line) => {
    const sample = parseSample(line)
    const id = JSON.stringify([sample.name, Object.entries(sample.labels).sort()])
    if (series.has(id)) throw new Error(`series occurs twice: ${line}`)
    series.add(id)
    return sample
  })
  /** @type {Exposition['find']} */
  const find = (name, labels = {}) =>
    samples.filter((sample) => {
      const hasLabels = Object.entries(labels).every(([key, value]) => sample.labels[key] === value)
      return sample.name === name && hasLabels
    })
  return {
    samples,
    find,
    value(name, labels) {
      const found = find(name, labels)
      if (found.length > 1) throw new Error(`${found.length} samples match ${name}`)
      return found[0]?.value
    },
  }
}

/** @param {string} line */
function parseSample(line) {
  const [, name, labels = '', text] = SAMPLE.exec(line) ?? []
  const value = Number(text?.replace('Inf', 'Infinity'))
  if (name === undefined || (Number.isNaN(value) && text !== 'NaN')) {
    throw new Error(`malformed sample: ${line}`)
  }
  return { name, labels: parseLabels(labels, line), value }
}

/** @param {string} text @param {string} line */
function parseLabels(text, line) {
  /** @type {Map<string, string>} */
  const labels = new Map()
  LABEL.lastIndex = 0
  while (LABEL.lastIndex < text.length) {
    const [, name, value] = LABEL.exec(text) ?? []
    if (name === undefined || value === undefined || labels.has(name)) {
      throw new Error(`malformed labels: ${line}`)
    }
    const unescape = (/** @type {string} */ _, /** @type {string} */ escaped) =>
      escaped === 'n' ? '\n' : escaped
    labels.set(name, value.replace(/\\(.)/g, unescape))
  }
  return Object.fromEntries(labels)
}
