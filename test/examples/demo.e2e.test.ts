import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { chmod, readdir } from 'node:fs/promises'
import { createServer } from 'node:net'
import { chromium } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { findProgram } from '../servers/servers.mjs'
import { makeFolder, useBuiltPackage } from '../support/built-package.js'
import { eventually } from '../support/eventually.js'
import { isRunning, Program, SLOW_MACHINE, startInTerminal } from '../support/program.js'
import { parsePrometheusText } from '../support/http.js'

// The demo, as users start it: with the build of the package.

const built = await useBuiltPackage()

/** Starts the demo with a temporary folder of its own, so that the test sees what it leaves there. */
async function startDemo(...parameters: string[]) {
  const folder = await makeFolder()
  // If root starts the demo, another user runs the servers.
  await chmod(folder, 0o755)
  const demo = new Program(['docs/demo/demo.mjs', ...parameters], {
    cwd: built.folder,
    env: { TMPDIR: folder },
  })
  onTestFinished(() => demo.stop())
  return { demo, folder }
}

/** A line for a log: plain text with the lag of each standby, and what is the matter. */
const READING =
  /^\d\d:\d\d:\d\d( {2,3}orders\/standby_[12] (\d+\.\d s|-)( disconnected)?){2}( {3}[A-Z].*\.)?$/

describe('the demo', () => {
  test('reports its standbys until Ctrl-C', async () => {
    const holder = createServer().listen(9464, '127.0.0.1')
    onTestFinished(() => void holder.close())
    // If another program has the port, that serves the same purpose.
    await once(holder, 'listening').catch(() => undefined)
    const { demo, folder } = await startDemo()
    const [, url = ''] = await demo.untilPrinted(
      /^PostgreSQL on 127\.0\.0\.1, .*\nMetrics: (http:\S+)\n/m,
    )
    expect(new URL(url).port).not.toBe('9464')

    await vi.waitFor(async () => {
      const { value } = parsePrometheusText(await (await fetch(url)).text())
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

  test('leaves nothing behind when Ctrl-C comes while it starts', async () => {
    const { demo, folder } = await startDemo()
    await vi.waitFor(async () => expect(await readdir(folder)).toHaveLength(1), SLOW_MACHINE)
    const family = demo.family()
    demo.kill('SIGINT')

    expect(await demo.ended).toEqual({ code: 0, signal: null })
    expect(demo.stderr).toBe('')
    expect(demo.stdout).not.toContain('Metrics')
    expect(family.filter(isRunning)).toEqual([])
    expect(await readdir(folder)).toEqual([])
  })

  test('rejects a wrong duration', async () => {
    const { demo, folder } = await startDemo('--duration', '1h')

    expect(await demo.ended).toEqual({ code: 2, signal: null })
    expect(demo.stdout).toBe('')
    expect(demo.stderr).toMatch(/^--duration: expected seconds, .*got "1h"\n\nUsage: npm run demo/)
    expect(await readdir(folder)).toEqual([])
  })
})

test('the demo breaks and mends things by key, and gives the terminal back', async () => {
  // What `stty` says last is the state after the demo.
  const command = 'tty; stty cols 80 rows 24; node docs/demo/demo.mjs; echo "code $?"; stty -a'
  const terminal = startInTerminal(command, {
    cwd: built.folder,
    env: { ...process.env, TERM: 'xterm-256color', NO_COLOR: '1' },
  })
  const until = (pattern: RegExp) => vi.waitUntil(() => pattern.test(terminal.text()), SLOW_MACHINE)

  await until(/Starting PostgreSQL/)
  const [path = ''] = /\/dev\/\S+/.exec(terminal.output) ?? []
  // Typed too early, it counts when the demo is ready.
  terminal.press('i')
  await until(/Keys: p pause/)
  await until(/Nothing is written/)
  terminal.press('c')
  await until(/The link to standby_2 is cut\.[^]*This package says [2-9]\.\d s behind, and growing/)
  terminal.press('c')
  await until(/All followers apply what they receive/)
  terminal.press('p')
  await until(/Replay is paused on standby_2[^]*This package says [2-9]\.\d s behind/)
  // Another key mends the one and breaks the other.
  terminal.press('k')
  await until(/standby_2 was killed\.[^]*PostgreSQL has no row for it/)
  terminal.press('f')
  // What is logged comes above a complete new table.
  await until(/lost a connection to orders[^]*In a browser: [^]*standby_1 is the primary now/)
  terminal.output = ''
  execFileSync('stty', ['-F', path, 'cols', '100'])
  await vi.waitUntil(
    // The screen is cleared, and everything is drawn again.
    // eslint-disable-next-line no-control-regex
    () => /\x1b\[1;1H\x1b\[0J[^]*In a browser: [^]*LAST \d\d s[^]*Keys: /.test(terminal.output),
    SLOW_MACHINE,
  )
  terminal.press('q')
  await terminal.ended
  expect(terminal.output).toMatch(/All stopped, nothing left behind\.\s+code 0/)
  expect(terminal.output).toMatch(/ icanon .* echo /s)
})

const executablePath = await findProgram('chromium')

describe.skipIf(!executablePath && !process.env['REQUIRE_SERVERS'])('the page of the demo', () => {
  let demo: Program
  let url = ''
  beforeAll(async () => {
    demo = new Program(['docs/demo/demo.mjs'], { cwd: built.folder })
    url = (await demo.untilPrinted(/^In a browser: (\S+)$/m))[1] ?? ''
  })
  afterAll(() => demo.stop())

  async function open(colorScheme: 'dark' | 'light' = 'light') {
    const browser = await chromium.launch({
      executablePath: executablePath ?? '',
      args: ['--no-sandbox'],
    })
    onTestFinished(() => browser.close())
    const page = await browser.newPage({ viewport: { width: 1280, height: 900 }, colorScheme })
    const problems: unknown[] = []
    const requests: string[] = []
    page.on('pageerror', (error) => problems.push(error))
    page.on('request', (request) => requests.push(request.url()))
    await page.goto(url)
    await page.locator('#lags canvas').waitFor()
    return { page, problems, requests }
  }

  test('shows the lag rise while replay is paused, and fall again, and announces only that', async () => {
    const { page, problems, requests } = await open()
    const announced = page.getByRole('status')
    await page.evaluate(`
      announcements = []
      const status = document.querySelector('[role=status]')
      const options = { childList: true, characterData: true, subtree: true }
      new MutationObserver(() => announcements.push(status.textContent)).observe(status, options)`)
    /** The newest value of standby_2 in the plot of seconds. */
    const seconds = async () => {
      const row = page.locator('#seconds .u-series', { hasText: 'standby_2' })
      return Number.parseFloat((await row.locator('.u-value').textContent()) ?? '')
    }
    await eventually(async () => {
      expect(await announced.textContent()).toBe('replay paused')
      expect(await seconds()).toBeGreaterThan(3)
    })
    expect(await page.locator('#sentence').textContent()).toMatch(
      /^Replay is paused on standby_2\. PostgreSQL's replay_lag says \S+ s\.\nThis package says \S+ s behind/,
    )
    const chart = page.getByRole('img', { name: 'Lag in seconds' })
    expect(await chart.getAttribute('aria-label')).toMatch(/standby_2 [3-9].* s, highest [3-9].* s/)
    await eventually(async () => expect(await seconds()).toBeLessThan(1))
    const announcements = await page.evaluate<string[]>('announcements')
    // At most the pause, its end, and what was there before.
    expect(announcements.length).toBeLessThanOrEqual(3)
    expect(problems).toEqual([])
    expect(requests.filter((request) => !request.startsWith(url))).toEqual([])
  })

  test('fits its window, whose width changes', async () => {
    const { page } = await open()
    await page.getByText('replay paused').first().waitFor({ timeout: 60_000 })
    for (const width of [375, 600, 1280]) {
      await page.setViewportSize({ width, height: 900 })
      await eventually(async () => {
        const widths = await page.evaluate<{ page: number; chart: number; box: number }>(`({
          page: document.documentElement.scrollWidth,
          chart: document.querySelector('.uplot').clientWidth,
          box: document.querySelector('#seconds').clientWidth,
        })`)
        expect(widths.page).toBeLessThanOrEqual(width)
        expect(widths.chart).toBe(widths.box)
      })
    }
  })

  test.each(['light', 'dark'] as const)('has enough contrast in %s', async (colorScheme) => {
    const { page } = await open(colorScheme)
    const names = ['page', 'panel', 'text', 'soft', 'line-0', 'line-1', 'line-2', 'line-3']
    const channels = await page.evaluate<number[][]>(`${JSON.stringify(names)}.map((name) => {
      document.body.style.outlineColor = 'var(--' + name + ')'
      return getComputedStyle(document.body).outlineColor.match(/\\d+/g).map(Number)
    })`)
    const [behind, panel, text, soft, ...lines] = channels.map(luminance)
    expect(lines).toHaveLength(4)
    for (const background of [behind, panel]) {
      for (const color of [text, soft]) {
        expect(contrast(color, background)).toBeGreaterThanOrEqual(4.5)
      }
      for (const color of lines) expect(contrast(color, background)).toBeGreaterThanOrEqual(3)
    }
  })
})

/** The contrast of two luminances, as WCAG defines it. */
function contrast(first = 0, second = 0): number {
  return (Math.max(first, second) + 0.05) / (Math.min(first, second) + 0.05)
}

/** The luminance of a color: red, green and blue from 0 to 255. */
function luminance(channels: number[]): number {
  const [red = 0, green = 0, blue = 0] = channels.map((value) => {
    const share = value / 255
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4
  })
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue
}
