// Makes the picture of the demo at the top of the repository's README, from a real run of the demo:
//
//   npm run --silent build && node docs/examples/postgres/picture/make.mjs docs/demo.svg
//
// Needs Linux, for the `script` of util-linux, which gives the demo a terminal to draw its table in.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { toSvg } from './svg.mjs'
import { Terminal } from './terminal.mjs'

const title =
  'A terminal that runs the demo: a table of two PostgreSQL standbys, one of them caught up, the other MiBs behind'
const columns = 82
const timeoutMillis = 180_000
// What the demo's screen.mjs writes last, whenever it has drawn.
const endOfFrame = '\u001B[?7h'
const ctrlC = '\u0003'

/**
 * Whether the screen shows all there is to see: standby_2 paused and far behind, after some times that it caught up.
 *
 * @param {string[]} lines
 */
function isTelling(lines) {
  const [, full = '', trend = ''] =
    /standby_2 +\S+ MiB {2}(█*)░* {2}([▁-█]{30}) ↑$/m.exec(lines.join('\n')) ?? []
  const isPaused = lines.some((line) => line.startsWith('Replay is paused'))
  return isPaused && full.length >= 15 && trend.split('▁').filter(Boolean).length >= 3
}

/**
 * Runs the demo in a terminal until the screen is one for the picture, then ends it.
 *
 * @returns {Promise<Terminal>}
 */
async function film() {
  const demo = fileURLToPath(new URL('../demo.mjs', import.meta.url))
  const command = 'exec "$NODE" "$DEMO"'
  const child = spawn('script', ['--quiet', '--return', '--command', command, '/dev/null'], {
    env: { ...process.env, NODE: process.execPath, DEMO: demo, TERM: 'xterm', NO_COLOR: '' },
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const ended = once(child, 'close')
  const timer = setTimeout(() => child.stdin.write(ctrlC), timeoutMillis)
  const terminal = new Terminal()
  terminal.write('\u001B[32m$\u001B[0m \u001B[1mnpm run demo\u001B[0m\r\n')
  let unwritten = ''
  try {
    // Left open at the end of the loop: the demo says a last word there, and would fail.
    const output = child.stdout.setEncoding('utf8').iterator({ destroyOnReturn: false })
    for await (const text of output) {
      const frames = `${unwritten}${String(text)}`.split(endOfFrame)
      unwritten = frames.pop() ?? ''
      for (const frame of frames) {
        terminal.write(frame)
        if (isTelling(terminal.lines)) return terminal
      }
    }
  } finally {
    clearTimeout(timer)
    if (child.exitCode === null) child.stdin.write(ctrlC)
    child.stdout.resume()
    await ended
  }
  throw new Error(`the demo ended early:\n${[...terminal.lines, unwritten].join('\n')}`)
}

const file = process.argv[2]
if (file === undefined) throw new Error('usage: node make.mjs FILE.svg')
const terminal = await film()
if (terminal.lines.some((line) => line.includes('is taken'))) {
  throw new Error('end what listens on port 9464, for a picture without a word about it')
}
writeFileSync(file, toSvg(terminal.rows, { title, columns }))
console.log(terminal.lines.join('\n'))
