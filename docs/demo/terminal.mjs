import { format } from 'node:util'
import { diag, DiagLogLevel } from '@opentelemetry/api'
import { createLogUpdate } from 'log-update'

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
