import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { startExporter } from './exporters.mjs'
import { freePort, until } from './postgres/processes.mjs'
import { parsePrometheusText } from './prometheus-text.mjs'

/** One page of metrics. `misses` is a pattern of what it does not report, and `read` reads it if it is not ours. @typedef {{ name: string, program: string, pollMillis: number, timeoutMillis: number, port: number, misses?: string, read?: () => Promise<Series[]> }} Monitor */
/** A number of a page. @typedef {{ metric: string, source: string | undefined, shard: string | undefined, replica: string | undefined, value: number }} Series */
/** What a program uses. The time of its processor is in milliseconds. @typedef {{ heapUsed: number, rss: number, handles: number, cpu: number }} Resources */

/** One process that monitors. */
export class Program {
  /** What it has printed. @type {{ at: number, text: string }[]} */
  log = []
  /** @type {import('node:child_process').ChildProcess | undefined} */
  #child

  /** @param {string} name @param {readonly Monitor[]} monitors @param {readonly string[]} parameters @param {object} [env] */
  constructor(name, monitors, parameters, env) {
    this.name = name
    this.monitors = monitors
    this.parameters = parameters
    this.env = env
  }

  async start() {
    const env = { ...process.env, ...this.env }
    const stdio = /** @type {const} */ (['ignore', 'ignore', 'pipe', 'ipc'])
    const child = spawn(process.execPath, this.parameters, { env, stdio: [...stdio] })
    this.#child = child
    const note = (/** @type {string} */ text) => this.log.push({ at: performance.now(), text })
    if (child.stderr) createInterface(child.stderr).on('line', note)
    child.once('exit', (code) => this.#child === child && note(`unhandled: it ended with ${code}`))
    await until(`${this.name} serves metrics`, async () => {
      const pages = this.monitors.map(({ port }) => fetch(`http://127.0.0.1:${port}/metrics`))
      return (await Promise.all(pages)).every(({ ok }) => ok)
    })
  }

  async stop() {
    const child = this.#child
    this.#child = undefined
    if (child?.exitCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  }

  async restart() {
    await this.stop()
    await this.start()
  }

  /** @param {NodeJS.Signals} signal */
  signal(signal) {
    this.#child?.kill(signal)
  }

  /** Blocks its event loop. @param {number} millis */
  stall(millis) {
    this.#child?.send({ stall: millis })
    return sleep(millis)
  }

  /** @param {number} millis from the true time */
  moveClock(millis) {
    this.#child?.send({ clock: millis })
  }

  /** @returns {Promise<Resources>} */
  async measure() {
    this.#child?.send({ measure: true })
    return new Promise((resolve) => this.#child?.once('message', resolve))
  }
}

/**
 * Starts the programs as users run them: a service with a producer and, without code, with ObservableGauges, and the command.
 * They monitor systems, by the names of their sources. If the URL of one has no gates, what passes between them and each of its
 * nodes is returned too.
 *
 * @param {import('./servers.mjs').Servers} servers
 * @param {Readonly<Record<string, import('./system.js').System>>} systems
 * @param {{ names?: RegExp, exporter?: string | undefined }} [options] the names of the programs, by default all, and of the
 *   one system that its exporter monitors too.
 */
export async function startMonitors(servers, systems, { names = /./, exporter } = {}) {
  /** @type {Record<string, Record<string, import('./gate.mjs').Gate>>} */
  const gates = {}
  const sources = await Promise.all(
    Object.entries(systems).map(async ([name, system]) => {
      /** @type {Record<string, import('./gate.mjs').Gate>} */
      const own = (gates[name] = {})
      // All groups of Kafka, not only some.
      let url = system.url.replace(/\?.*/, '')
      for (const [node, port] of Object.entries(system.ports ?? {})) {
        const gate = (own[node] = await servers.gate(port))
        url = url.replace(`:${port}`, `:${gate.port}`)
      }
      return { name, url }
    }),
  )
  const programs = (await createPrograms(servers.folder, sources)).filter(({ name }) =>
    names.test(name),
  )
  servers.onStop(() => Promise.all(programs.map((each) => each.stop())))
  await Promise.all(programs.map((each) => each.start()))
  const [name, system] = Object.entries(systems)[0] ?? []
  if (exporter && name && system) {
    const url = sources[0]?.url ?? ''
    programs.push(await startExporter(servers, exporter, system, { url, gates: gates[name] ?? {} }))
  }
  return { programs, gates }
}

/** @param {string} folder for their configuration @param {readonly { name: string, url: string }[]} sources */
async function createPrograms(folder, sources) {
  const path = (/** @type {string} */ name) => fileURLToPath(new URL(name, import.meta.url))
  const monitors = await Promise.all(
    [
      { name: 'producer', program: 'service', pollMillis: 1000, timeoutMillis: 2000 },
      { name: 'gauge', program: 'service', pollMillis: 5000, timeoutMillis: 5000 },
      { name: 'command', program: 'command', pollMillis: 1000, timeoutMillis: 5000 },
    ].map(async (each) => ({ ...each, port: await freePort() })),
  )
  const [producer = '', gauge = '', command = ''] = monitors.map((each) => {
    const { name, pollMillis: pollIntervalMillis, timeoutMillis: pollTimeoutMillis } = each
    const file = join(folder, `${name}.json`)
    const options = { pollIntervalMillis, pollTimeoutMillis, positions: name === 'command' }
    writeFileSync(file, JSON.stringify({ sources, ...options }))
    return file
  })
  const [first, second, port] = monitors.map((each) => `${each.port}`)
  const node = ['--expose-gc', '--import', path('controls.mjs')]
  const register = [...node, '--import', path('../../dist/register/index.mjs')]
  const service = [...register, path('service.mjs'), producer, `${first}`, `${second}`]
  const address = ['--host', '127.0.0.1', '--port', `${port}`]
  const cli = [...node, path('../../dist/cli/index.js'), ...address]
  return [
    new Program('service', monitors.slice(0, 2), service, { REPLICATION_LAG_CONFIG: gauge }),
    new Program('command', monitors.slice(2), cli, { REPLICATION_LAG_CONFIG: command }),
  ]
}

/** By how much more there may be at the end than at the beginning. */
const MAY_GROW = { connections: 6, handles: 8, heapUsed: 8_000_000 }

/** Says what has grown. @param {Record<string, number>} before @param {Record<string, number>} after */
export function grown(before, after) {
  return Object.entries(MAY_GROW).flatMap(([what, most]) => {
    const [first = 0, last = 0] = [before[what], after[what]]
    return last > first + most ? [`${what} rose from ${first} to ${last}`] : []
  })
}

/** Returns what a monitor shows: nothing if it does not answer. @param {Monitor} monitor */
export async function scrape({ port, read }) {
  if (read) return check(await read())
  const signal = AbortSignal.timeout(5000)
  const page = await fetch(`http://127.0.0.1:${port}/metrics`, { signal })
    .then((response) => response.text())
    .catch(() => '')
  return parsePage(page)
}

/** Parses a page in the format of Prometheus. @param {string} page */
function parsePage(page) {
  try {
    const series = parsePrometheusText(page)
      .samples.filter(({ name }) => name.startsWith('replication_'))
      .map(({ name: metric, labels: { source, shard, replica }, value }) => {
        return { metric, source, shard, replica, value }
      })
    return check(series)
  } catch (error) {
    return { series: [], faults: [String(error)] }
  }
}

/** @param {Series[]} series */
function check(series) {
  const impossible = series.filter(({ value }) => !(value >= 0))
  return { series, faults: impossible.map((each) => JSON.stringify(each)) }
}
