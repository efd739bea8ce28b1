import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { fileURLToPath } from 'node:url'

const HOST = '127.0.0.1'

/** What the page consists of, by path. All of it is on this machine. */
const FILES = new Map([
  ['/', { type: 'text/html', url: new URL('page/index.html', import.meta.url).href }],
  ['/page.js', { type: 'text/javascript', url: new URL('page/page.js', import.meta.url).href }],
  ['/uplot.js', { type: 'text/javascript', url: uplot('uPlot.esm.js') }],
  ['/uplot.css', { type: 'text/css', url: uplot('uPlot.min.css') }],
])

/** @param {string} file */
function uplot(file) {
  return new URL(file, import.meta.resolve('uplot')).href
}

/**
 * Serves a page for browsers on a free port: the history as it grows.
 *
 * @param {import('./show.js').Show} show
 * @param {import('./history.mjs').History} history
 * @param {{ readonly sentence: string }} state what happens now
 */
export async function servePage({ servers, unit, url: metrics }, history, state) {
  const server = createServer((request, response) => {
    const path = request.url ?? '/'
    if (path === '/history') {
      const { times, scenes, followers } = history
      const body = { servers, unit, metrics, ...state, times, scenes }
      response.setHeader('content-type', 'application/json')
      response.end(JSON.stringify({ ...body, followers: Object.fromEntries(followers) }))
      return
    }
    const file = FILES.get(path)
    if (!file) {
      response.writeHead(404).end()
      return
    }
    response.setHeader('content-type', `${file.type}; charset=utf-8`)
    readFile(fileURLToPath(file.url)).then(
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
