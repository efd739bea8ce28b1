// Makes the pictures of the demo and of the dashboard from one real run of the demo, in three minutes: npm run pictures
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { chromium } from 'playwright-core'
import { freePort, until } from '../../test/servers/postgres/processes.mjs'
import { findProgram, Servers } from '../../test/servers/servers.mjs'

/** @typedef {import('./history.mjs').History} History */

const pathOf = (/** @type {string} */ name) => fileURLToPath(new URL(name, import.meta.url))

const THEMES = /** @type {const} */ (['light', 'dark'])
/** The pictures of the dashboard, by their width. Without titles: all its panels. */
const PICTURES = [
  { name: 'dashboard', width: 1100 },
  {
    name: 'incidents',
    width: 900,
    titles: [
      'Lag in seconds',
      'Followers that are connected',
      'Network: not received',
      'Replay: received, not applied',
    ],
  },
]
/** The dashboard's variables. Incidents are short, and the cluster is small. */
const VARIABLES = { shard: '.*', replica: '.*', behind: '5', kept: '2e6' }

const [executablePath, program] = await Promise.all(['chromium', 'prometheus'].map(findProgram))
if (!executablePath || !program) throw new Error('expected: apt-get install chromium prometheus')
const demo = spawn(process.execPath, [pathOf('demo.mjs')], { stdio: ['ignore', 'pipe', 'inherit'] })
const ended = once(demo, 'close')
const servers = await Servers.create()
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] })
try {
  let output = ''
  demo.stdout.on('data', (text) => (output += String(text)))
  const addressOf = async (/** @type {string} */ what) => {
    const find = () => new RegExp(`^${what}: (\\S+)$`, 'm').exec(output)?.[1]
    return (await until(`the demo prints ${what}`, find)) ?? ''
  }
  const prometheus = await startPrometheus(program, await addressOf('Metrics'))
  const address = await addressOf('In a browser')
  const pages = await Promise.all(THEMES.map((theme) => openPage(theme, 900)))
  await Promise.all(pages.map((page) => page.goto(address)))
  // All scenes have been played, and the second round shows a link that is cut.
  const isOver = () =>
    /is the primary now[^]*link to standby_2 is cut.* says [89]\.\d s/.test(output)
  await until('the link is cut again', isOver, { timeoutMillis: 200_000 })
  const end = Math.floor(Date.now() / 1000)
  for (const [index, page] of pages.entries()) {
    await page.screenshot({ path: pathOf(`demo-${THEMES[index]}.png`), fullPage: true })
  }
  const history = /** @type {unknown} */ (await (await fetch(`${address}history`)).json())
  const { incidents } = /** @type {Pick<History, 'incidents'>} */ (history)
  const start = Math.floor(incidents.scenes[0]?.from ?? end) - 5
  const script = await readFile(pathOf('page/dashboard.js'), 'utf8')
  const json = await readFile(pathOf('../monitoring/dashboard.json'), 'utf8')
  const dashboard = /** @type {unknown} */ (JSON.parse(json))
  for (const theme of THEMES) {
    for (const { name, width, titles } of PICTURES) {
      const page = await openPage(theme, width)
      page.on('pageerror', (error) => {
        throw error
      })
      const picture = { dashboard, titles, prometheus, variables: VARIABLES, incidents, start, end }
      // The demo serves what the script imports.
      await page.goto(`${address}uplot.css`)
      await page.setContent(`<!doctype html><link rel="stylesheet" href="uplot.css" />
        <script type="importmap">{ "imports": { "uplot": "./uplot.js" } }</script>
        <body><script>globalThis.picture = ${JSON.stringify(picture)}</script>
        <script type="module">${script}</script>`)
      await page.waitForSelector('#drawn')
      await page.locator('body').screenshot({ path: pathOf(`../monitoring/${name}-${theme}.png`) })
    }
  }
} finally {
  await browser.close()
  demo.kill('SIGINT')
  await ended
  await servers.stop()
}

/** @param {'light' | 'dark'} colorScheme @param {number} width */
function openPage(colorScheme, width) {
  return browser.newPage({ colorScheme, viewport: { width, height: 800 }, deviceScaleFactor: 1.5 })
}

/**
 * Starts a Prometheus that scrapes an address each second, and returns its own.
 *
 * @param {string} program
 * @param {string} target
 */
async function startPrometheus(program, target) {
  const port = await freePort()
  const config = {
    global: { scrape_interval: '1s', scrape_timeout: '1s' },
    scrape_configs: [{ job_name: 'orders', static_configs: [{ targets: [new URL(target).host] }] }],
  }
  // JSON is YAML.
  await writeFile(`${await servers.folderOf('prometheus')}/prometheus.yml`, JSON.stringify(config))
  const flags = ['--config.file=prometheus.yml', `--web.listen-address=127.0.0.1:${port}`]
  await servers.start('prometheus', program, flags)
  const url = `http://127.0.0.1:${port}`
  await servers.until('Prometheus is ready', async () => (await fetch(`${url}/-/ready`)).ok)
  return url
}
