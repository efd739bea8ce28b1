/** One line of a scrape. */
export interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

/** The comments on a metric. A field is absent if its comment is. */
export interface Family {
  readonly type?: string
  readonly help?: string
  readonly unit?: string
}

/** A parsed scrape. */
export interface Exposition {
  readonly samples: readonly Sample[]
  readonly families: ReadonlyMap<string, Family>
  /** Returns the samples with this name and at least these labels. */
  readonly find: (name: string, labels?: Readonly<Record<string, string>>) => Sample[]
  /** Returns the value of the one sample that `find` returns, `undefined` if there is none. Throws if there are several. */
  readonly value: (name: string, labels?: Readonly<Record<string, string>>) => number | undefined
}

const KEYWORD = /^# (?:HELP|TYPE|UNIT)\b/
const COMMENT = /^# (HELP|TYPE|UNIT) ([a-zA-Z_:][a-zA-Z0-9_:]*)(?: (.*))?$/s
const TYPES = ['counter', 'gauge', 'histogram', 'summary', 'untyped']
const SAMPLE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)(?: (-?\d+))?$/s
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\[\\"n])*)"(?:, *|$)/y
const NUMBER = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i

/**
 * Parses Prometheus text exposition 0.0.4, as strictly as a server. The errors for malformed text, for a metric that is
 * described twice and for a series that occurs twice name the line.
 */
export function parsePrometheusText(text: string): Exposition {
  const samples: Sample[] = []
  const families = new Map<string, Family>()
  const series = new Set<string>()
  for (const line of text.split('\n')) {
    if (line.trim() === '') continue
    if (line.startsWith('#')) {
      // Other comments are to be ignored.
      if (KEYWORD.test(line)) describe(families, line)
      continue
    }
    const sample = parseSample(line)
    const id = JSON.stringify([sample.name, Object.entries(sample.labels).sort()])
    if (series.has(id)) throw new Error(`series occurs twice: ${line}`)
    series.add(id)
    samples.push(sample)
  }
  const find: Exposition['find'] = (name, labels = {}) =>
    samples.filter((sample) => sample.name === name && hasLabels(sample, labels))
  return {
    samples,
    families,
    find,
    value(name, labels) {
      const found = find(name, labels)
      if (found.length > 1) throw new Error(`${found.length} samples match ${name}`)
      return found[0]?.value
    },
  }
}

function describe(families: Map<string, Family>, line: string): void {
  const [, keyword, name, text = ''] = COMMENT.exec(line) ?? []
  if (keyword === undefined || name === undefined) throw new Error(`malformed comment: ${line}`)
  const key = keyword.toLowerCase() as keyof Family
  const family = families.get(name)
  if (family?.[key] !== undefined) throw new Error(`described twice: ${line}`)
  if (key === 'type' && !TYPES.includes(text)) throw new Error(`unknown type: ${line}`)
  families.set(name, { ...family, [key]: key === 'help' ? unescape(text) : text })
}

function parseSample(line: string): Sample {
  const [, name, labels = '', value] = SAMPLE.exec(line) ?? []
  if (name === undefined || value === undefined) throw new Error(`malformed sample: ${line}`)
  return { name, labels: parseLabels(labels, line), value: parseValue(value, line) }
}

function parseLabels(text: string, line: string): Record<string, string> {
  const labels = new Map<string, string>()
  LABEL.lastIndex = 0
  while (LABEL.lastIndex < text.length) {
    const [, name, value] = LABEL.exec(text) ?? []
    if (name === undefined || value === undefined) throw new Error(`malformed labels: ${line}`)
    if (labels.has(name)) throw new Error(`label occurs twice: ${line}`)
    labels.set(name, unescape(value))
  }
  return Object.fromEntries(labels)
}

function parseValue(text: string, line: string): number {
  if (text === 'NaN') return Number.NaN
  if (/^[+-]?Inf$/.test(text)) return text.startsWith('-') ? -Infinity : Infinity
  if (!NUMBER.test(text)) throw new Error(`malformed value: ${line}`)
  return Number(text)
}

function unescape(text: string): string {
  return text.replace(/\\([\\"n])/g, (_, escaped: string) => (escaped === 'n' ? '\n' : escaped))
}

function hasLabels(sample: Sample, labels: Readonly<Record<string, string>>): boolean {
  return Object.entries(labels).every(([name, value]) => sample.labels[name] === value)
}
