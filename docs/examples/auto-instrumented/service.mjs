import { createServer } from 'node:http'
import pg from 'pg'

// A service that knows nothing of OpenTelemetry.

const pool = new pg.Pool()
pool.on('error', (error) => console.error(error.message))

const server = createServer((_request, response) => {
  pool.query('select now() as time').then(
    ({ rows }) => response.end(JSON.stringify(rows[0])),
    (/** @type {unknown} */ error) => response.writeHead(503).end(`${String(error)}\n`),
  )
})
process.once('SIGTERM', () => {
  server.close()
  void pool.end()
})
server.listen(process.env['PORT'] ?? 3000, () => {
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
  console.log(`http://localhost:${port}`)
})
