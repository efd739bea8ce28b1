import { chromium } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { findProgram } from '../servers/servers.mjs'
import { useBuiltPackage } from '../support/built-package.js'
import { eventually } from '../support/eventually.js'
import { Program } from '../support/program.js'

const executablePath = await findProgram('chromium')

const built = await useBuiltPackage()

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
