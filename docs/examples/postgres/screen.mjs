/**
 * Returns a function that draws a block of lines, each time in the same place of a terminal.
 *
 * @param {NodeJS.WritableStream} terminal
 * @returns {(lines: string[]) => void}
 */
export function inPlace(terminal) {
  let height = 0
  return (lines) => {
    const up = height > 0 ? `\u001B[${height}A\r` : ''
    // Lines do not wrap while drawing, because one that takes two rows would leave the cursor in the wrong place.
    const rows = lines.map((line) => `\u001B[2K${line}\n`).join('')
    terminal.write(`\u001B[?7l${up}${rows}\u001B[0J\u001B[?7h`)
    height = lines.length
  }
}
