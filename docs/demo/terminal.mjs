import { createRequire } from 'node:module'
import { emitKeypressEvents } from 'node:readline'
import { format } from 'node:util'
import { diag, DiagLogLevel } from '@opentelemetry/api'
import { createLogUpdate } from 'log-update'

/** @typedef {import('opentelemetry-instrumentation-replication-lag').FollowerLag} FollowerLag */
/** @typedef {import('./history.mjs').History} History */

/** The table of the command, which `npm run build:js` has built. @type {unknown} */
const built = createRequire(import.meta.url)('../../dist/cli/table.js')
const table = /** @type {typeof import('../../src/cli/table.js')} */ (built)

export const LEGEND =
  'green: less than 1 s behind, yellow: less than 5 s, red: more, or not connected'

/**
 * Draws a table of followers.
 *
 * @param {readonly FollowerLag[]} snapshot
 * @param {History} history
 * @param {{ unit: string, columns: number, colors: boolean }} options `columns` of the terminal
 * @returns {string[]} its lines
 */
export function renderTable(snapshot, history, { unit, columns, colors }) {
  const byteShards = new Set(unit === 'bytes' ? snapshot.map(({ shard }) => shard) : [])
  const seconds = snapshot.map((lag) => {
    const values = history.followers.get(lag.replica ?? '')?.seconds ?? []
    return /** @type {const} */ ([table.keyOf(lag), values.map((value) => value ?? undefined)])
  })
  return table.renderTable(snapshot, { columns, colors, byteShards, history: new Map(seconds) })
}

/** The same in one line, for output that is not a terminal. @param {readonly FollowerLag[]} snapshot */
export function renderLine(snapshot) {
  const followers = snapshot.map((lag) => {
    const link = lag.connected === false ? ' disconnected' : ''
    return `${table.nameOf(lag)} ${formatSeconds(lag.lagSeconds)}${link}`
  })
  return followers.join('   ')
}

/** @param {number | undefined} seconds */
export function formatSeconds(seconds) {
  return seconds === undefined ? '-' : `${seconds.toFixed(1)} s`
}

/** Draws on the terminal, in place of what it drew before, and below what is logged. */
export class Terminal {
  #update = createLogUpdate(process.stdout, { showCursor: true })
  #render = () => ''
  #redraw = () => this.#update(this.#render())
  #onResize = () => {
    // The terminal has wrapped the old lines in its own way: how many to erase is not known.
    this.#update.clear()
    console.clear()
    this.#redraw()
  }
  #isOpen = true

  constructor() {
    process.stdout.on('resize', this.#onResize)
    const log = (/** @type {unknown[]} */ ...message) => {
      this.#update.persist(format(...message))
      if (this.#isOpen) this.#redraw()
    }
    diag.setLogger(
      { error: log, warn: log, info: log, debug: log, verbose: log },
      { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
    )
  }

  /** @param {() => string} render is called again when the size of the terminal changes */
  draw(render) {
    this.#render = render
    this.#redraw()
  }

  /** Leaves what was drawn last on the screen. */
  close() {
    this.#isOpen = false
    process.stdout.off('resize', this.#onResize)
    this.#update.done()
  }
}

/**
 * Calls a function for each key that is pressed. Does nothing if the input is not a terminal.
 *
 * @param {(key: string) => void} onKey the character, or `ctrl-c`
 * @returns {() => void} gives the terminal back as it was
 */
export function listenToKeys(onKey) {
  const { stdin } = process
  if (!stdin.isTTY) return () => undefined
  emitKeypressEvents(stdin)
  const listener = (/** @type {string} */ text, /** @type {import('node:readline').Key} */ key) => {
    onKey(key.ctrl && key.name === 'c' ? 'ctrl-c' : text)
  }
  stdin.setRawMode(true)
  stdin.on('keypress', listener)
  stdin.resume()
  return () => {
    stdin.off('keypress', listener)
    stdin.setRawMode(false)
    stdin.pause()
  }
}
