import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { stripVTControlCharacters } from 'node:util'
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest'
import { buildTemporaryPackage, type BuiltPackage } from '../support/built-package.js'
import { SLOW_MACHINE } from '../support/program.js'

let built: BuiltPackage
beforeAll(async () => {
  built = await buildTemporaryPackage()
})
afterAll(() => built.remove())

test('the demo breaks and mends things by key, and gives the terminal back', async () => {
  // `script` gives it a terminal. What `stty` says last is the state after the demo.
  const command = 'stty cols 80 rows 24; node docs/examples/demo/demo.mjs; echo "code $?"; stty -a'
  const child = spawn('script', ['--quiet', '--command', command, '/dev/null'], {
    cwd: built.folder,
    env: { ...process.env, TERM: 'xterm-256color', NO_COLOR: '1' },
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const ended = once(child, 'close')
  onTestFinished(() => void child.kill('SIGHUP'))
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
  const until = (pattern: RegExp) =>
    vi.waitUntil(() => pattern.test(stripVTControlCharacters(output)), SLOW_MACHINE)
  const press = (key: string) => {
    output = ''
    child.stdin.write(key)
  }

  await until(/Starting PostgreSQL/)
  await until(/Keys: p pause/)
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
  await until(/standby_1 is the primary now/)
  press('q')
  await ended
  expect(output).toMatch(/All stopped, nothing left behind\.\s+code 0/)
  expect(output).toMatch(/ icanon .* echo /s)
})
