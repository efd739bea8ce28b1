import Fastify from 'fastify'
import pg from 'pg'

// A service that knows nothing of OpenTelemetry.

const pool = new pg.Pool()
pool.on('error', (error) => app.log.error(error))

const app = Fastify({ logger: { level: 'warn' } })
app.get('/time', async () => {
  const { rows } = await pool.query('select now() as time')
  return rows[0]
})
app.addHook('onClose', () => pool.end())
process.once('SIGTERM', () => void app.close())

console.log(await app.listen({ port: Number(process.env['PORT'] ?? 3000) }))
