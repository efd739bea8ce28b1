import { describe, expect, test } from 'vitest'
import { toSvg } from '../../docs/examples/postgres/picture/svg.mjs'
import { Terminal } from '../../docs/examples/postgres/picture/terminal.mjs'
import { inPlace } from '../../docs/examples/postgres/screen.mjs'
import { renderTable } from '../../docs/examples/postgres/table.mjs'
import { readText } from '../support/repository.js'

/** A terminal, and the stream through which a program writes to it. */
function openTerminal() {
  const terminal = new Terminal()
  const stream = {
    write(text: string) {
      // As the operating system does.
      terminal.write(text.replaceAll('\n', '\r\n'))
    },
  }
  return { terminal, stream: stream as unknown as NodeJS.WritableStream }
}

describe('a block of lines that is drawn in place', () => {
  test('replaces what was drawn before, below what was printed', () => {
    const { terminal, stream } = openTerminal()
    const draw = inPlace(stream)
    stream.write('Metrics: somewhere\n\n')

    draw(['a long line', 'another', '', 'the end'])
    draw(['a line', '', 'the end'])
    expect(terminal.lines).toEqual(['Metrics: somewhere', '', 'a line', '', 'the end'])

    draw(['one', 'two', 'three', 'four'])
    expect(terminal.lines).toEqual(['Metrics: somewhere', '', 'one', 'two', 'three', 'four'])
  })

  test('leaves the cursor below it', () => {
    const { terminal, stream } = openTerminal()
    const draw = inPlace(stream)
    draw(['one', 'two'])
    stream.write('Stopping …\n')
    expect(terminal.lines).toEqual(['one', 'two', 'Stopping …'])
  })
})

describe('the terminal of the picture', () => {
  test('applies colors', () => {
    const { terminal, stream } = openTerminal()
    stream.write('a\u001B[1mb\u001B[31mc\u001B[0md\u001B[1;32me')
    expect(terminal.rows[0]).toEqual([
      { char: 'a', style: { bold: false } },
      { char: 'b', style: { bold: true } },
      { char: 'c', style: { bold: true, color: 'red' } },
      { char: 'd', style: { bold: false } },
      { char: 'e', style: { bold: true, color: 'green' } },
    ])
  })

  test('throws for control sequences that it does not know', () => {
    const { terminal } = openTerminal()
    expect(() => terminal.write('\u001B[5;5H')).toThrow('unknown: "\\u001b[5;5H"')
    expect(() => terminal.write('\t')).toThrow('unknown: "\\t"')
    expect(() => terminal.write('\u001B[48m')).toThrow('unknown style: 48')
  })
})

describe('the picture of a terminal', () => {
  const { terminal, stream } = openTerminal()
  stream.write('a "title"  <b> & c\n\u001B[31mx  ██░▁█ ↑\u001B[0m\n')
  const svg = toSvg(terminal.rows, { title: 'Two & <two>', columns: 20 })
  const texts = [...svg.matchAll(/<text x="(\d+)" .*?textLength="(\d+)".*?>(.*)<\/text>/g)]

  test('fixes the place and the width of every piece of text', () => {
    const left = 40
    expect(texts.map(([, x, width, text]) => [Number(x) - left, Number(width), text])).toEqual([
      [0, 90, 'a &#34;title&#34;'],
      [110, 70, '&#60;b&#62; &#38; c'],
      [0, 10, 'x'],
      [30, 50, '██░▁█'],
      [90, 10, '↑'],
    ])
  })

  test('draws blocks, and has them as text to copy', () => {
    const paths = [...svg.matchAll(/<path d="(.*?)"/g)].map(([, d = '']) => d)
    const sizes = paths.map((d) => [...d.matchAll(/v-(\d+)h(\d+)/g)].map(([size]) => size))
    expect(sizes).toEqual([['v-16h20', 'v-2h10', 'v-16h10'], ['v-16h10']])
    expect(svg).toContain(' fill="transparent">██░▁█</text>')
  })

  test('has a title for screen readers', () => {
    expect(svg).toContain('<title>Two &#38; &#60;two&#62;</title>')
  })
})

test('the picture in the README is small and shows the table of today', () => {
  const picture = readText('docs/demo.svg')
  expect(Buffer.byteLength(picture)).toBeLessThan(40_000)
  const [heading = ''] = renderTable([])
  for (const word of heading.split(/ +/)) expect(picture).toContain(`>${word}</text>`)
  expect(picture).toMatch(/>standby_2<.*>[\d.]+ MiB</s)
  expect(picture).not.toMatch(/<script|<foreignObject|href/)
})
