// Makes the pictures of the dashboard: npm run build:js && node docs/monitoring/pictures/make.mjs
// A real Prometheus watches a real PostgreSQL through four incidents, which takes seven minutes.
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { Servers } from '../../../test/servers/servers.mjs'
import { buildPage, draw, openBrowser } from './drawing.mjs'
import { startPrometheus } from './prometheus.mjs'
import { startStory } from './story.mjs'

/** The cluster is small, and so is the log that it keeps. */
const variables = { kept: '10e6' }

/** Empty for the whole dashboard. */
const pictures = [
  { name: 'dashboard', width: 1100, titles: [] },
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

const folder = fileURLToPath(new URL('..', import.meta.url))

async function main() {
  const dashboard = /** @type {unknown} */ (
    JSON.parse(await readFile(`${folder}/dashboard.json`, 'utf8'))
  )
  process.stdout.write('Building the page …\n')
  const page = await buildPage()
  const stop = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM']) process.once(name, () => stop.abort())
  const servers = await Servers.create({ signal: stop.signal })
  try {
    const browser = await openBrowser()
    servers.onStop(() => browser.close())
    const story = await startStory(servers)
    const prometheus = await startPrometheus(servers, story.url)
    const recorded = await story.run((line) => process.stdout.write(`${line}\n`))
    for (const { name, width, titles } of pictures) {
      for (const theme of ['light', 'dark']) {
        const path = `${folder}${name}-${theme}.png`
        const content = { dashboard, variables, titles, theme, ...recorded }
        const bytes = await draw({ browser, page, prometheus, path, width, content })
        process.stdout.write(`${path} ${Math.round(bytes / 1000)} kB\n`)
      }
    }
  } catch (error) {
    if (!stop.signal.aborted) throw error
    process.exitCode = 130
  } finally {
    await servers.stop()
  }
}

await main()
