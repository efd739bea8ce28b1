import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, readdir, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import { describe, expect, onTestFinished, test, vi, type TestContext } from 'vitest'
import { useBuiltPackage } from '../support/built-package.js'
import { isRunning, Program, SLOW_MACHINE } from '../support/program.js'
import { parsePrometheusText } from '../support/prometheus.js'

// The demo, as users start it: with the build of the package.

const built = await useBuiltPackage()
/** Starts the demo with a temporary folder of its own, so that the test sees what it leaves there. */
async function startDemo({ onTestFinished }: TestContext, ...parameters: string[]) {
  const folder = await mkdtemp(join(tmpdir(), 'replication-lag-demo-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  // If root starts the demo, another user runs the servers.
  await chmod(folder, 0o755)
  const demo = new Program(['docs/demo/demo.mjs', ...parameters], {
    cwd: built.folder,
    env: { TMPDIR: folder },
  })
  onTestFinished(() => demo.stop())
  return { demo, folder }
}

async function scrape(url: string) {
  return parsePrometheusText(await (await fetch(url)).text())
}

/** A line for a log: plain text with the lag of each standby, and what is the matter. */
const READING =
  /^\d\d:\d\d:\d\d( {2,3}orders\/standby_[12] (\d+\.\d s|-)( disconnected)?){2}( {3}[A-Z].*\.)?$/

describe.concurrent('programs', { timeout: 120_000 }, () => {
  test('the demo reports its standbys until Ctrl-C', async (context) => {
    const { expect, onTestFinished } = context
    const holder = createServer().listen(9464, '127.0.0.1')
    onTestFinished(() => void holder.close())
    // If another program has the port, that serves the same purpose.
    await once(holder, 'listening').catch(() => undefined)
    const { demo, folder } = await startDemo(context)
    const [, url = ''] = await demo.untilPrinted(
      /^PostgreSQL on 127\.0\.0\.1, .*\nMetrics: (http:\S+)\n/m,
    )
    expect(new URL(url).port).not.toBe('9464')

    await vi.waitFor(async () => {
      const { value } = await scrape(url)
      const paused = { shard: 'orders', replica: 'standby_2' }
      // Far more than between two healthy servers.
      expect(value('replication_lag_seqno', paused)).toBeGreaterThan(250_000)
      expect(value('replication_lag_seconds', paused)).toBeGreaterThan(0)
      expect(value('replication_follower_connected', paused)).toBe(1)
    }, SLOW_MACHINE)
    await demo.untilPrinted(
      /Replay is paused on standby_2\. PostgreSQL's replay_lag says \S+ s\. This package says /,
    )
    const family = demo.family()
    demo.kill('SIGINT')

    expect(await demo.ended).toEqual({ code: 0, signal: null })
    expect(demo.stderr).toMatch(/^(Port \d+ is taken, trying \d+ for the metrics\.\n)+$/)
    const readings = demo.stdout.split('\n').filter((line) => /^\d\d:/.test(line))
    expect(readings).not.toEqual([])
    expect(readings.filter((line) => !READING.test(line))).toEqual([])
    expect(demo.stdout).toMatch(/\nStopping …\nAll stopped, nothing left behind\.\n$/)
    expect(family.length).toBeGreaterThan(3)
    expect(family.filter(isRunning)).toEqual([])
    expect(await readdir(folder)).toEqual([])
  })

  test('the demo leaves nothing behind when Ctrl-C comes while it starts', async (context) => {
    const { expect } = context
    const { demo, folder } = await startDemo(context)
    await vi.waitFor(async () => expect(await readdir(folder)).toHaveLength(1), SLOW_MACHINE)
    const family = demo.family()
    demo.kill('SIGINT')

    expect(await demo.ended).toEqual({ code: 0, signal: null })
    expect(demo.stderr).toBe('')
    expect(demo.stdout).not.toContain('Metrics')
    expect(family.filter(isRunning)).toEqual([])
    expect(await readdir(folder)).toEqual([])
  })

  test('the demo rejects a wrong duration', async (context) => {
    const { expect } = context
    const { demo, folder } = await startDemo(context, '--duration', '1h')

    expect(await demo.ended).toEqual({ code: 2, signal: null })
    expect(demo.stdout).toBe('')
    expect(demo.stderr).toMatch(/^--duration: expected seconds, .*got "1h"\n\nUsage: npm run demo/)
    expect(await readdir(folder)).toEqual([])
  })
})

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
