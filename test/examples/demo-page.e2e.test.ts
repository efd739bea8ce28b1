import { chromium, type Page } from 'playwright-core'
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

  async function open(options: { width?: number; colorScheme?: 'dark' | 'light' } = {}) {
    const { width = 1280, colorScheme = 'light' } = options
    const browser = await chromium.launch({
      executablePath: executablePath ?? '',
      args: ['--no-sandbox'],
    })
    onTestFinished(() => browser.close())
    const page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme })
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
      const button = page.locator('#seconds button', { hasText: 'standby_2' })
      return Number.parseFloat((await button.locator('.value').textContent()) ?? '')
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

  test('lets the keyboard hide and show a follower', async () => {
    const { page } = await open()
    const button = page.getByRole('button', { name: 'standby_1' }).first()
    expect(await button.getAttribute('aria-pressed')).toBe('true')
    await page.keyboard.press('Tab')
    const focused = () => page.evaluate<string>('document.activeElement.textContent')
    expect(await focused()).toContain('standby_1')
    await page.keyboard.press('Enter')
    expect(await button.getAttribute('aria-pressed')).toBe('false')
    await page.keyboard.press('Space')
    expect(await button.getAttribute('aria-pressed')).toBe('true')
  })

  /** Waits until an incident is listed, and checks that everything is inside the window. */
  async function fits(page: Page) {
    await page
      .getByText(/^replay paused, /)
      .first()
      .waitFor({ timeout: 60_000 })
    await eventually(async () => {
      const widths = await page.evaluate<{ window: number; page: number; charts: number[] }>(`({
        window: innerWidth,
        page: document.documentElement.scrollWidth,
        charts: [...document.querySelectorAll('.uplot')].map((each) => each.clientWidth),
      })`)
      expect(widths.page).toBeLessThanOrEqual(widths.window)
      const expected = Math.min(960, widths.window - 32)
      for (const width of widths.charts) expect(width).toBe(expected)
    })
  }

  test.each([1280, 600, 375])('fits a window of %d pixels', async (width) => {
    const { page } = await open({ width })
    await fits(page)
    for (const other of [375, 600, 1280]) {
      await page.setViewportSize({ width: other, height: 900 })
      await fits(page)
    }
  })

  test.each(['light', 'dark'] as const)('has enough contrast in %s', async (colorScheme) => {
    const { page } = await open({ colorScheme })
    const names = ['background', 'panel', 'text', 'muted', 'line-1', 'line-2', 'line-3', 'line-4']
    const values = await page.evaluate<string[]>(`
      ${JSON.stringify(names)}.map((name) =>
        getComputedStyle(document.documentElement).getPropertyValue('--' + name))`)
    const colors = Object.fromEntries(names.map((name, index) => [name, values[index] ?? '']))
    const { background = '', panel = '', text = '', muted = '', ...lines } = colors
    expect(Object.keys(lines)).toHaveLength(4)
    for (const behind of [background, panel]) {
      for (const color of [text, muted]) {
        expect(contrast(color, behind)).toBeGreaterThanOrEqual(4.5)
      }
      for (const color of Object.values(lines)) {
        expect(contrast(color, behind)).toBeGreaterThanOrEqual(3)
      }
    }
    // What is drawn has these colors.
    const style = 'getComputedStyle(document.body)'
    const drawn = await page.evaluate<string[]>(`[${style}.color, ${style}.backgroundColor]`)
    expect(drawn).toEqual([rgb(text), rgb(background)])
  })
})

/** The channels of a color such as #1f2328. */
function channels(color: string): number[] {
  return [1, 3, 5].map((index) => Number.parseInt(color.trim().slice(index, index + 2), 16))
}

function rgb(color: string): string {
  return `rgb(${channels(color).join(', ')})`
}

/** The contrast of two colors, as WCAG defines it. */
function contrast(first: string, second: string): number {
  const [darker = 0, lighter = 0] = [first, second].map(luminance).sort((a, b) => a - b)
  return (lighter + 0.05) / (darker + 0.05)
}

function luminance(color: string): number {
  const [red = 0, green = 0, blue = 0] = channels(color).map((value) => {
    const share = value / 255
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4
  })
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue
}
