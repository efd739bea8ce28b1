// Makes the picture of the demo at the top of the repository's README, from a real run of the demo:
//
//   npm run --silent build && node docs/examples/postgres/picture/make.mjs docs/demo.svg
//
// Needs Linux: `script` of util-linux gives the demo a terminal.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { toSvg } from './svg.mjs'
import { Terminal } from './terminal.mjs'

const title =
  'A terminal that runs the demo: a table of two PostgreSQL standbys, one caught up, the other some MiB and seconds behind'
const columns = 84
const timeoutMillis = 180_000
// The end of each drawing of screen.mjs.
const endOfFrame = '\u001B[?7h'
const ctrlC = '\u0003'

/**
 * Whether the screen is one for the picture: standby_2 is paused and far behind, and has caught up twice before.
 *
 * @param {string[]} lines
 */
function isTelling(lines) {
  const [, chart = ''] =
    /standby_2 +\S+ MiB +\S+ s {2}yes +([▁-█]{30}) ↑$/m.exec(lines.join('\n')) ?? []
  const isPaused = lines.some((line) => line.startsWith('Replay is paused'))
  return isPaused && /[▆-█]$/.test(chart) && chart.split('▁').filter(Boolean).length >= 3
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
    // The stream stays open after the loop, because the demo still writes to it when it ends.
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
  throw new Error('port 9464 is taken, and the picture would say so')
}
writeFileSync(file, toSvg(terminal.rows, { title, columns }))
console.log(terminal.lines.join('\n'))
