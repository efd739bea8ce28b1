import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { stripVTControlCharacters } from 'node:util'
import { expect, onTestFinished, test, vi } from 'vitest'
import { useBuiltPackage } from '../support/built-package.js'
import { SLOW_MACHINE } from '../support/program.js'

const built = await useBuiltPackage()

test('the demo breaks and mends things by key, and gives the terminal back', async () => {
  // `script` gives it a terminal. What `stty` says last is the state after the demo.
  const command = 'tty; stty cols 80 rows 24; node docs/demo/demo.mjs; echo "code $?"; stty -a'
  const child = spawn('script', ['--quiet', '--command', command, '/dev/null'], {
    cwd: built.folder,
    env: { ...process.env, TERM: 'xterm-256color', NO_COLOR: '1' },
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const ended = once(child, 'close')
  // Ctrl-C, because a signal to `script` does not reach the demo.
  onTestFinished(async () => {
    if (child.exitCode === null) child.stdin.write('\x03')
    await ended
  })
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
  const until = (pattern: RegExp) =>
    vi.waitUntil(() => pattern.test(stripVTControlCharacters(output)), SLOW_MACHINE)
  const press = (key: string) => {
    output = ''
    child.stdin.write(key)
  }

  await until(/Starting PostgreSQL/)
  const [terminal = ''] = /\/dev\/\S+/.exec(output) ?? []
  // Typed too early, it counts when the demo is ready.
  press('i')
  await until(/Keys: p pause/)
  await until(/Nothing is written/)
  press('c')
  await until(/The link to standby_2 is cut\.[^]*This package says [2-9]\.\d s behind, and growing/)
  press('c')
  await until(/All followers apply what they receive/)
  press('p')
  await until(/Replay is paused on standby_2[^]*This package says [2-9]\.\d s behind/)
  // Another key mends the one and breaks the other.
  press('k')
  await until(/standby_2 was killed\.[^]*PostgreSQL has no row for it/)
  press('f')
  // What is logged comes above a complete new table.
  await until(/lost a connection to orders[^]*In a browser: [^]*standby_1 is the primary now/)
  output = ''
  execFileSync('stty', ['-F', terminal, 'cols', '100'])
  await vi.waitUntil(
    // The screen is cleared, and everything is drawn again.
    // eslint-disable-next-line no-control-regex
    () => /\x1b\[1;1H\x1b\[0J[^]*In a browser: [^]*LAST \d\d s[^]*Keys: /.test(output),
    SLOW_MACHINE,
  )
  press('q')
  await ended
  expect(output).toMatch(/All stopped, nothing left behind\.\s+code 0/)
  expect(output).toMatch(/ icanon .* echo /s)
})
