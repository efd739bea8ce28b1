/** One line of a scrape. */
export interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

/** A parsed scrape. */
export interface Exposition {
  readonly samples: readonly Sample[]
  /** Returns the samples with this name and at least these labels. */
  readonly find: (name: string, labels?: Readonly<Record<string, string>>) => Sample[]
  /** Returns the value of the one sample that `find` returns, `undefined` if there is none. Throws if there are several. */
  readonly value: (name: string, labels?: Readonly<Record<string, string>>) => number | undefined
}

const SAMPLE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)(?: -?\d+)?$/s
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\[\\"n])*)"(?:, *|$)/y

/**
 * Parses the samples of Prometheus text exposition 0.0.4. Throws for malformed ones and for a series that occurs twice.
 *
 * The library parse-prometheus-text-format does neither: it merges series that occur twice, and those of a histogram, accepts
 * malformed lines, and drops a last line without an end.
 */
export function parsePrometheusText(text: string): Exposition {
  const lines = text.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('#'))
  const series = new Set<string>()
  const samples = lines.map((line) => {
    const sample = parseSample(line)
    const id = JSON.stringify([sample.name, Object.entries(sample.labels).sort()])
    if (series.has(id)) throw new Error(`series occurs twice: ${line}`)
    series.add(id)
    return sample
  })
  const find: Exposition['find'] = (name, labels = {}) =>
    samples.filter((sample) => sample.name === name && hasLabels(sample, labels))
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

function parseSample(line: string): Sample {
  const [, name, labels = '', text] = SAMPLE.exec(line) ?? []
  const value = Number(text?.replace('Inf', 'Infinity'))
  if (name === undefined || (Number.isNaN(value) && text !== 'NaN')) {
    throw new Error(`malformed sample: ${line}`)
  }
  return { name, labels: parseLabels(labels, line), value }
}

function parseLabels(text: string, line: string): Record<string, string> {
  const labels = new Map<string, string>()
  LABEL.lastIndex = 0
  while (LABEL.lastIndex < text.length) {
    const [, name, value] = LABEL.exec(text) ?? []
    if (name === undefined || value === undefined || labels.has(name)) {
      throw new Error(`malformed labels: ${line}`)
    }
    labels.set(
      name,
      value.replace(/\\(.)/g, (_, escaped: string) => (escaped === 'n' ? '\n' : escaped)),
    )
  }
  return Object.fromEntries(labels)
}

function hasLabels(sample: Sample, labels: Readonly<Record<string, string>>): boolean {
  return Object.entries(labels).every(([name, value]) => sample.labels[name] === value)
}
