import { chromium } from 'playwright-core'
import { expect, onTestFinished, test } from 'vitest'
import { findProgram } from '../servers/servers.mjs'
import { useBuiltPackage } from '../support/built-package.js'
import { eventually } from '../support/eventually.js'
import { Program } from '../support/program.js'

const executablePath = await findProgram('chromium')

const built = await useBuiltPackage()

test.skipIf(!executablePath && !process.env['REQUIRE_SERVERS'])(
  'a browser sees the lag rise while replay is paused, and fall again',
  async () => {
    const demo = new Program(['docs/demo/demo.mjs'], { cwd: built.folder })
    onTestFinished(() => demo.stop())
    const [, url = ''] = await demo.untilPrinted(/^In a browser: (\S+)$/m)
    const browser = await chromium.launch({
      executablePath: executablePath ?? '',
      args: ['--no-sandbox'],
    })
    onTestFinished(() => browser.close())
    const page = await browser.newPage()
    const problems: unknown[] = []
    const requests: string[] = []
    page.on('pageerror', (error) => problems.push(error))
    page.on('request', (request) => requests.push(request.url()))
    await page.goto(url)

    const sentence = page.getByRole('status')
    /** The newest value of standby_2 in the plot of seconds. */
    const seconds = async () => {
      const row = page.locator('#seconds .u-series', { hasText: 'standby_2' })
      return Number.parseFloat((await row.locator('.u-value').textContent()) ?? '')
    }
    await eventually(async () => expect(await seconds()).toBeGreaterThan(3))
    expect(await sentence.textContent()).toMatch(
      /^Replay is paused on standby_2\. PostgreSQL's replay_lag says \S+ s\.\nThis package says \S+ s behind/,
    )
    await eventually(async () => expect(await seconds()).toBeLessThan(1))

    expect(await page.locator('canvas').count()).toBe(2)
    expect(problems).toEqual([])
    expect(requests.filter((request) => !request.startsWith(url))).toEqual([])
  },
)
