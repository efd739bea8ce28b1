/** @typedef {'black' | 'red' | 'green' | 'yellow' | 'blue' | 'magenta' | 'cyan' | 'white'} Color */
/** @typedef {{ bold: boolean, color?: Color }} Style */
/** @typedef {{ char: string, style: Style }} Cell */

/** @type {Color[]} */
const colors = ['black', 'red', 'green', 'yellow', 'blue', 'magenta', 'cyan', 'white']

// A control sequence, or one character.
const token = /\p{Cc}\[([?\d;]*)([A-Za-z])|./gsu

/**
 * As much of a terminal as the demo uses. Throws for control sequences that it does not know.
 */
export class Terminal {
  /** @type {Cell[][]} */
  #rows = [[]]
  #row = 0
  #column = 0
  /** @type {Style} */
  #style = { bold: false }

  /** @param {string} output whole sequences, as they come from a program */
  write(output) {
    for (const [text, parameters = '', command] of output.matchAll(token)) {
      if (/^\P{Cc}$/u.test(text)) this.#put(text)
      else if (text === '\n') this.#feedLine()
      else if (text === '\r') this.#column = 0
      else if (command === 'A') this.#row = Math.max(0, this.#row - Number(parameters || 1))
      else if (command === 'K' && parameters === '2') this.#rows[this.#row] = []
      else if (command === 'J' && Number(parameters) === 0) this.#eraseBelow()
      else if (command === 'm') this.#setStyle(parameters.split(';').map(Number))
      // These two switch wrapping, and this terminal never wraps.
      else if (!text.endsWith('[?7l') && !text.endsWith('[?7h')) {
        throw new Error(`unknown: ${JSON.stringify(text)}`)
      }
    }
  }

  /** The rows of cells on the screen, without the empty ones at the end. */
  get rows() {
    const last = this.#rows.findLastIndex((row) => row.length > 0)
    return this.#rows.slice(0, last + 1)
  }

  /** The same without styles. */
  get lines() {
    return this.rows.map((row) =>
      row
        .map(({ char }) => char)
        .join('')
        .trimEnd(),
    )
  }

  /** @param {string} char */
  #put(char) {
    const row = (this.#rows[this.#row] ??= [])
    while (row.length < this.#column) row.push({ char: ' ', style: { bold: false } })
    row[this.#column++] = { char, style: this.#style }
  }

  #feedLine() {
    this.#row++
    this.#rows[this.#row] ??= []
  }

  #eraseBelow() {
    this.#rows[this.#row]?.splice(this.#column)
    this.#rows.splice(this.#row + 1)
  }

  /** @param {number[]} codes */
  #setStyle(codes) {
    for (const code of codes) {
      const color = colors[code - 30]
      if (code === 0) this.#style = { bold: false }
      else if (code === 1) this.#style = { ...this.#style, bold: true }
      else if (color) this.#style = { ...this.#style, color }
      else throw new Error(`unknown style: ${code}`)
    }
  }
}
