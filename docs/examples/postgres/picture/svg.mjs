/** @typedef {import('./terminal.mjs').Cell} Cell */
/** @typedef {import('./terminal.mjs').Style} Style */

// Whole pixels, so that neighbouring blocks meet without a seam.
const cell = { width: 10, height: 24 }
const padding = { x: 40, top: 58, bottom: 26 }
const fontSize = 16
/** From the top of a row to the baseline of its text and to the top of a full block; the height of a full block. */
const [baseline, blockTop, blockHeight] = [17, 3, 16]

const fonts = `ui-monospace, SFMono-Regular, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace`

/** Visible on GitHub's light and dark pages; the border is for the dark ones. */
const window = {
  background: '#161b22',
  border: '#3d444d',
  buttons: ['#ff5f57', '#febc2e', '#28c840'],
}
const foreground = '#d1d7e0'
const bold = '#f0f6fc'
/** @type {Record<import('./terminal.mjs').Color, string>} */
const palette = {
  black: '#656c76',
  red: '#ff7b72',
  green: '#57d364',
  yellow: '#e3b341',
  blue: '#79c0ff',
  magenta: '#d2a8ff',
  cyan: '#56d4dd',
  white: '#f0f6fc',
}

const blocks = '▁▂▃▄▅▆▇█'

/**
 * Draws a terminal in a window.
 *
 * Every piece of text has a fixed width and blocks are drawn as paths, so it looks the same with any font. The blocks are
 * there as invisible text too, so that they can be copied.
 *
 * @param {readonly Cell[][]} rows
 * @param {{ title: string, columns: number }} options `title` is for screen readers
 */
export function toSvg(rows, { title, columns }) {
  const width = columns * cell.width + 2 * padding.x
  const height = rows.length * cell.height + padding.top + padding.bottom
  const buttons = window.buttons.map(
    (color, index) => `<circle cx="${26 + index * 22}" cy="26" r="6.5" fill="${color}"/>`,
  )
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">`,
    `<title>${escape(title)}</title>`,
    `<rect x=".5" y=".5" width="${width - 1}" height="${height - 1}" rx="10" fill="${window.background}" stroke="${window.border}"/>`,
    ...buttons,
    `<g font-family="${fonts}" font-size="${fontSize}" fill="${foreground}" xml:space="preserve">`,
    ...rows.flatMap((row, index) => drawRow(row, padding.top + index * cell.height)),
    '</g>',
    '</svg>',
    '',
  ].join('\n')
}

/**
 * @param {readonly Cell[]} row
 * @param {number} top
 */
function drawRow(row, top) {
  return pieces(row).flatMap(({ column, text, style }) => {
    const x = padding.x + column * cell.width
    const color = style.color ? palette[style.color] : style.bold ? bold : foreground
    const size = `textLength="${text.length * cell.width}" lengthAdjust="spacingAndGlyphs"`
    const drawText = (/** @type {string} */ look) =>
      `<text x="${x}" y="${top + baseline}" ${size}${look}>${escape(text)}</text>`
    if (isBlocks(text)) return [...drawBlocks(text, x, top, color), drawText(' fill="transparent"')]
    const fill = color === foreground ? '' : ` fill="${color}"`
    return drawText(`${fill}${style.bold ? ' font-weight="bold"' : ''}`)
  })
}

/**
 * Splits a row into pieces of one style that are placed separately: words of a table's cell, and runs of blocks.
 *
 * @param {readonly Cell[]} row
 */
function pieces(row) {
  /** @type {{ column: number, text: string, style: Style }[]} */
  const runs = []
  for (const [column, { char, style }] of row.entries()) {
    const run = runs.at(-1)
    if (run?.style === style) run.text += char
    else runs.push({ column, text: char, style })
  }
  return runs.flatMap(({ column, text, style }) =>
    [...text.matchAll(/[░▁-█]+|[^░▁-█\s]+(?: [^░▁-█\s]+)*/g)].map((match) => {
      return { column: column + match.index, text: match[0], style }
    }),
  )
}

/** @param {string} text */
function isBlocks(text) {
  return /^[░▁-█]/.test(text)
}

/**
 * @param {string} text
 * @param {number} left
 * @param {number} top
 * @param {string} color
 */
function drawBlocks(text, left, top, color) {
  const bottom = top + blockTop + blockHeight
  const runs = [...text.matchAll(/(.)\1*/g)].map((match) => {
    const [run, char = ''] = match
    const x = left + match.index * cell.width
    const width = run.length * cell.width
    const isShade = char === '░'
    // The lowest block is an eighth of a cell, and so on.
    const height = isShade ? blockHeight : (blockHeight * (blocks.indexOf(char) + 1)) / 8
    return { isShade, path: `M${x} ${bottom}v${-height}h${width}v${height}z` }
  })
  return [false, true].flatMap((shade) => {
    const paths = runs.filter(({ isShade }) => isShade === shade).map(({ path }) => path)
    if (paths.length === 0) return []
    return `<path d="${paths.join('')}" fill="${color}"${shade ? ' fill-opacity=".18"' : ''}/>`
  })
}

/** @param {string} text */
function escape(text) {
  return text.replace(/[&<>"]/g, (char) => `&#${char.charCodeAt(0)};`)
}
