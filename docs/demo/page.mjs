import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { fileURLToPath } from 'node:url'

const HOST = '127.0.0.1'

const page = new URL('page/', import.meta.url).href
const uplot = new URL('.', import.meta.resolve('uplot')).href
/** What the page consists of, by path. All of it is on this machine. */
const FILES = new Map([
  ['/', `${page}index.html`],
  ['/page.js', `${page}page.js`],
  ['/charts.js', `${page}charts.js`],
  ['/uplot.js', `${uplot}uPlot.esm.js`],
  ['/uplot.css', `${uplot}uPlot.min.css`],
])
const TYPES = { html: 'text/html', js: 'text/javascript', css: 'text/css' }

/**
 * Serves a page for browsers on a free port: the history as it grows.
 *
 * @param {import('./system.mjs').Show} show
 * @param {import('./history.mjs').History} history
 */
export async function servePage({ servers, unit, url: metrics }, history) {
  const server = createServer((request, response) => {
    const path = request.url ?? '/'
    if (path === '/history') {
      const { times, incidents, sentence } = history
      const followers = Object.fromEntries(history.followers)
      response.setHeader('content-type', 'application/json')
      response.end(
        JSON.stringify({ servers, unit, metrics, sentence, times, incidents, followers }),
      )
      return
    }
    const file = FILES.get(path)
    if (!file) {
      response.writeHead(404).end()
      return
    }
    const ending = /** @type {keyof typeof TYPES} */ (file.split('.').at(-1))
    response.setHeader('content-type', `${TYPES[ending]}; charset=utf-8`)
    readFile(fileURLToPath(file)).then(
      (text) => response.end(text),
      () => response.writeHead(500).end(),
    )
  })
  server.listen(0, HOST)
  await once(server, 'listening')
  const address = /** @type {import('node:net').AddressInfo} */ (server.address())
  return {
    url: `http://${HOST}:${address.port}/`,
    async stop() {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
}
