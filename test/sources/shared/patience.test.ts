import { jetstreamSource } from 'opentelemetry-instrumentation-replication-lag/sources/jetstream'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, it } from 'vitest'
import { ANSWERS } from '../jetstream/answers.js'
import { fakeFetch } from './http-fakes.js'

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

it('a node that hangs does not fail the read, even if garbage is collected meanwhile', async () => {
  const source = jetstreamSource({
    servers: ['http://nats_1', 'http://nats_2', 'http://nats_3'],
    fetch: fakeFetch((path, { url }) => {
      const { hostname } = new URL(url)
      if (hostname === 'nats_3') return new Promise(() => setTimeout(collectGarbage, 100))
      const server = hostname === 'nats_1' ? ANSWERS.nats_1 : ANSWERS.nats_2
      return path === '/varz' ? server.varz : server.jsz
    }),
  })
  const { shards } = await source.read(new AbortController().signal)
  expect(shards[0]?.followers).toContainEqual({
    replica: 'nats_3',
    connected: false,
    problem:
      'cannot be read: http://nats_3: no answer in time: check host, port, network, firewall and server',
  })
})
