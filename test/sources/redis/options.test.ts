import { Cluster, Redis } from 'ioredis'
import {
  redisSource,
  type RedisClient,
  type RedisSourceOptions,
} from 'opentelemetry-instrumentation-replication-lag/sources/redis'
import { createClient, createCluster } from 'redis'
import { describe, expect, it, onTestFinished } from 'vitest'
import { recordDiag } from '../../support/diag.js'
import { LEADER, REPLICA } from './answers.js'
import { answering, nodesReader, readClient } from './fakes.js'

describe('an option', () => {
  const client = answering(LEADER)

  it.each([
    ['client', { client: 'redis://:secret@host' }],
    ['client', { client: undefined }],
    ['client', { nodes: { n1: client } }],
    ['shard', { shard: '' }],
    ['nodes', { client: undefined, nodes: 7 }],
    ['nodes', { client: undefined, nodes: {} }],
    ['nodes["n1"]', { client: undefined, nodes: { n1: {} } }],
    ['nodes', { client: undefined, nodes: { '': client } }],
    ['replicas', { replicas: { r1: client } }],
    ['name', { name: '' }],
    ['filter', { filter: true }],
  ])('is named in an error: %s', (option, options) => {
    const create = () =>
      redisSource({ client, shard: 'cache', ...options } as unknown as RedisSourceOptions)
    expect(create).toThrow(TypeError)
    expect(create).toThrow(`${option}: expected`)
    expect(create).not.toThrow(/secret/)
  })

  it('names the option that has taken the place of an old one', () => {
    const old = { client, shard: 1, replicas: { r1: client } } as RedisSourceOptions
    expect(() => redisSource(old)).toThrow('replicas: expected the option nodes in its place')
  })

  it('is not a client of a cluster, which asks any node', () => {
    const ioredis = new Cluster([{ host: '127.0.0.1', port: 1 }], { lazyConnect: true })
    onTestFinished(() => ioredis.disconnect())
    const nodeRedis = createCluster({ rootNodes: [{ url: 'redis://127.0.0.1:1' }] })
    for (const cluster of [ioredis, nodeRedis] as unknown as RedisClient[]) {
      expect(() => redisSource({ client: cluster, shard: 1 })).toThrow('client: expected')
      const nodes = { n1: cluster }
      expect(() => redisSource({ nodes, shard: 1 })).toThrow('nodes["n1"]: expected')
    }
    for (const plain of [new Redis({ lazyConnect: true }), createClient()]) {
      expect(redisSource({ client: plain, shard: 1 }).name).toBe('redis:1')
    }
  })

  it('is ignored and logged if it does not exist', () => {
    const logged = recordDiag()
    onTestFinished(() => logged.stop())
    const source = redisSource({ client, shard: 7, nam: 'x' } as unknown as RedisSourceOptions)
    expect(source.name).toBe('redis:7')
    expect(logged.matching('redisSource', '"nam"')).toHaveLength(1)
  })

  it('can be undefined', () => {
    const unset = { nodes: undefined, name: undefined, filter: undefined }
    expect(redisSource({ client, shard: 7, ...unset }).name).toBe('redis:7')
  })

  it('can name the source and leave out followers', async () => {
    expect(redisSource({ client, shard: 1, name: 'main' }).name).toBe('main')
    const filter = ({ replica }: { replica: string }) => replica !== 'n2'
    const { followers } = await nodesReader({ filter })({ n1: LEADER, n2: REPLICA, n3: REPLICA })
    expect(followers).toMatchObject([{ replica: 'n3' }])
    const invalid = (() => 'yes') as unknown as () => boolean
    await expect(readClient(LEADER, { filter: invalid })).rejects.toThrow('filter: expected')
  })
})
