// Makes the pictures of the demo in the repository's README, from a real run of the demo:
//
//   npm run --silent build:js && node docs/demo/picture.mjs
//
// Needs Chromium.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { chromium } from 'playwright-core'
import { findProgram } from '../../test/servers/servers.mjs'
import { until } from '../../test/servers/postgres/until.mjs'

const PICTURES = { light: 'demo.png', dark: 'demo-dark.png' }

const executablePath = await findProgram('chromium')
if (!executablePath) throw new Error('Chromium is not installed: sudo apt-get install chromium')
const program = fileURLToPath(new URL('demo.mjs', import.meta.url))
const demo = spawn(process.execPath, [program], { stdio: ['ignore', 'pipe', 'inherit'] })
const ended = once(demo, 'close')
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] })
try {
  let output = ''
  demo.stdout.on('data', (text) => (output += String(text)))
  const url = () => /^In a browser: (\S+)$/m.exec(output)?.[1]
  const address = (await until('the demo serves its page', url)) ?? ''
  const pages = await Promise.all(
    Object.entries(PICTURES).map(async ([colorScheme, file]) => {
      const page = await browser.newPage({
        colorScheme: colorScheme === 'dark' ? 'dark' : 'light',
        viewport: { width: 900, height: 800 },
      })
      await page.goto(address)
      return { page, path: fileURLToPath(new URL(`../../${file}`, import.meta.url)) }
    }),
  )
  // All scenes have been played, and the second round shows a link that is cut.
  const isTold = () =>
    /is the primary now[^]*link to standby_2 is cut.* says [89]\.\d s/.test(output)
  await until('the link is cut again', isTold, { timeoutMillis: 200_000 })
  for (const { page, path } of pages) {
    await page.screenshot({ path, fullPage: true })
    console.log(path)
  }
} finally {
  await browser.close()
  demo.kill('SIGINT')
  await ended
}
