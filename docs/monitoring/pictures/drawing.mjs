import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { chromium } from 'playwright-core'
import { cacheFolder, findProgram, run } from '../../../test/servers/servers.mjs'

const pageFolder = fileURLToPath(new URL('page', import.meta.url))
/** Half a gigabyte of packages is no part of this repository. */
const cache = cacheFolder('replication-lag-pictures')

/**
 * Builds the page in the cache, and installs its packages there if they have changed.
 *
 * @returns the folder of the page
 */
export async function buildPage() {
  await mkdir(cache, { recursive: true })
  const lock = await readFile(join(pageFolder, 'package-lock.json'), 'utf8')
  const marker = join(cache, 'installed.json')
  const isInstalled = (await readFile(marker, 'utf8').catch(() => '')) === lock
  await cp(pageFolder, cache, { recursive: true })
  if (!isInstalled) {
    await rm(marker, { force: true })
    await run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: cache })
    await writeFile(marker, lock)
  }
  await run(process.execPath, ['node_modules/vite/bin/vite.js', 'build'], { cwd: cache })
  return join(cache, 'dist')
}

export async function openBrowser() {
  const executablePath = await findProgram('chromium')
  if (executablePath === undefined) throw new Error('expected Chromium: apt-get install chromium')
  return chromium.launch({
    executablePath,
    // It shows only pages of this repository, and may run as root.
    chromiumSandbox: false,
    handleSIGINT: false,
    handleSIGTERM: false,
  })
}

/**
 * Draws one picture.
 *
 * @param {{
 *   browser: import('playwright-core').Browser,
 *   page: string,
 *   prometheus: string,
 *   path: string,
 *   width: number,
 *   content: unknown,
 * }} parameters `page` is a folder, `prometheus` an address, and `content` what the page shows.
 * @returns the size of the file
 */
export async function draw({ browser, page: folder, prometheus, path, width, content }) {
  const page = await browser.newPage({
    // Higher than the dashboard: graphs outside of it may not be drawn.
    viewport: { width, height: 3000 },
    deviceScaleFactor: 1.5,
    timezoneId: 'UTC',
    locale: 'en-US',
  })
  /** @type {Error[]} */
  const errors = []
  page.on('pageerror', (error) => errors.push(error))
  // Pages of Prometheus' own address may ask it.
  await page.route(`${prometheus}/picture/**`, (route) =>
    route.fulfill({ path: join(folder, new URL(route.request().url()).pathname.slice(9)) }),
  )
  await page.addInitScript(`window.picture = ${JSON.stringify(content)}`)
  await page.goto(`${prometheus}/picture/index.html`, { waitUntil: 'networkidle' })
  await page.waitForFunction('annotate()').catch((/** @type {unknown} */ cause) => {
    throw new Error('the page was not drawn', { cause: errors[0] ?? cause })
  })
  const root = page.locator('#root')
  /** @type {Buffer} */
  let screenshot = await root.screenshot()
  for (let previous; !previous?.equals(screenshot); screenshot = await root.screenshot()) {
    // It is drawn when it no longer changes.
    previous = screenshot
    await page.waitForTimeout(1000)
  }
  const compressed = await compress(screenshot)
  await writeFile(path, compressed)
  await page.close()
  return compressed.length
}

/**
 * Reduces a picture to a palette.
 *
 * @param {Buffer} png
 */
async function compress(png) {
  /** @type {(name: 'sharp') => (png: Buffer) => { png(options: object): { toBuffer(): Promise<Buffer> } }} */
  const load = createRequire(join(cache, 'package.json'))
  const sharp = load('sharp')
  return sharp(png).png({ palette: true, colors: 128, effort: 10, dither: 0 }).toBuffer()
}
