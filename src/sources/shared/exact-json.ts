/** An integer that a number may not hold exactly. It can be inside a string. */
const LONG_INTEGER = /(?<![\w.+-])\d{16,}(?=\s*[,}\]])/g

/**
 * A string, or such an integer outside of one. This takes twice as long. A string that is cut short matches as well: the search
 * for its end would never finish.
 */
const STRING_OR_LONG_INTEGER = /"[^"\\]*(?:\\.[^"\\]*)*"?|(?<![\w.+-])\d{16,}(?=\s*[,}\]])/gs

/**
 * Parses JSON, with integers of 16 or more digits as strings: a number above 2^53 would lose digits. `JSON.parse` of Node.js 20
 * does not give access to the source of a number.
 *
 * @returns `undefined` if it is not JSON.
 */
export function parseExactJson(text: string): unknown {
  const quoted = text.replace(LONG_INTEGER, '"$&"')
  if (quoted === text) return parse(text)
  // Quotes inside of a string make invalid JSON.
  return (
    parse(quoted) ??
    parse(
      text.replace(STRING_OR_LONG_INTEGER, (part) => (part.startsWith('"') ? part : `"${part}"`)),
    )
  )
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
