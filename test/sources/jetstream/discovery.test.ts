import { afterEach, describe, expect, it, vi } from 'vitest'
import { createFake } from './fakes.js'

afterEach(() => vi.restoreAllMocks())

/** Only nats_1 is given. It knows the others at addresses of their own. */
function createHosts(urls: readonly string[] = ['http://nats_1:8222/nats']) {
  const fake = createFake({ servers: urls, streams: ['ORDERS'] })
  const { answers } = fake
  for (const { varz } of Object.values(answers).flatMap((each) => each ?? []))
    Object.assign(varz, { cluster: { name: 'demo' } })
  const know = (varz: object, routez: object = {}) => {
    const { nats_1 } = answers
    Object.assign(nats_1?.varz as object, varz)
    Object.assign(nats_1 ?? {}, { routez })
  }
  know({ connect_urls: ['10.0.0.1:4222', '10.0.0.2:4222', '[fd00::3]:4222'] })
  Object.assign(answers, { '10.0.0.2': answers['nats_2'], '[fd00::3]': answers['nats_3'] })
  delete answers['nats_2']
  delete answers['nats_3']
  const readConnected = async () => {
    const { followers, leaderSeqno } = await fake.readShard()
    const read = followers.filter(({ appliedSeqno }) => appliedSeqno !== undefined)
    return { leaderSeqno, names: read.map(({ replica }) => replica) }
  }
  return Object.assign(fake, { know, readConnected })
}

const NOT_FOUND = 'its leader nats_2 cannot be read: no server of this name is among the monitoring'
const ALL = { leaderSeqno: 31n, names: ['nats_1', 'nats_3', 'mirror/COPY'] }

describe('other servers of the cluster', () => {
  it('are found from the URL of one, with its port and path, and are read from the next read on', async () => {
    const { readConnected, read, asked } = createHosts()
    await expect(read()).rejects.toThrow(NOT_FOUND)
    expect(await readConnected()).toEqual(ALL)
    expect((await read()).complete).toBe(true)
    expect(asked.filter((each) => each.endsWith('/routez'))).toEqual(['nats_1 /nats/routez'])
    expect(asked).toContain('10.0.0.2 /nats/jsz')
  })

  const urls = ['10.0.0.2:6222', '[fd00::3]:6222']
  it.each<[string, object, object]>([
    ['its routes', {}, { routes: [{ ip: '10.0.0.2' }, { ip: 'fd00::3' }, { ip: '10.0.0.2' }, {}] }],
    ['its configuration', { cluster: { name: 'demo', urls } }, {}],
  ])('are found by %s', async (_, varz, routez) => {
    const { know, read, readConnected } = createHosts()
    know({ connect_urls: [], ...varz }, routez)
    await expect(read()).rejects.toThrow('nats_2')
    expect(await readConnected()).toEqual(ALL)
  })

  it('are not asked for the password of the URL', async () => {
    const { read, headers } = createHosts(['http://user:secret@nats_1:8222/nats'])
    await expect(read()).rejects.toThrow('nats_2')
    await read()
    expect(headers.get('nats_1')).toHaveProperty('authorization')
    expect(headers.get('10.0.0.2')).toEqual({})
  })

  const cluster = { name: 'other' }
  it.each<[string, (fake: ReturnType<typeof createHosts>) => void]>([
    ['do not answer there', ({ answers }) => delete answers['10.0.0.2']],
    ['are of another cluster', ({ change }) => change('10.0.0.2', { varz: { cluster } })],
    ['have no address', ({ know }) => know({ connect_urls: [7, 'a b:1', ''] }, { routes: 7 })],
  ])('are not read if they %s, and not looked for all the time', async (_, change) => {
    const fake = createHosts()
    change(fake)
    for (let i = 0; i < 3; i++) await expect(fake.read()).rejects.toThrow(NOT_FOUND)
    const searches = () => fake.asked.filter((each) => each.endsWith('/routez')).length
    expect(searches()).toBe(1)
    const now = performance.now()
    vi.spyOn(performance, 'now').mockImplementation(() => now + 61_000)
    await expect(fake.read()).rejects.toThrow(NOT_FOUND)
    expect(searches()).toBe(2)
  })

  it('are not found while the one that is asked fails, and a read does not', async () => {
    const fake = createHosts()
    fake.onAsk = () => {
      const count = fake.asked.filter((each) => each === 'nats_1 /nats/varz').length
      if (count === 2) throw new Error('down')
    }
    await expect(fake.read()).rejects.toThrow(NOT_FOUND)
  })

  it('are not waited for long', async () => {
    const { know, read } = createHosts()
    know({ connect_urls: ['hangs:1', '10.0.0.2:4222'] })
    const start = performance.now()
    await expect(read(1000)).rejects.toThrow('nats_2')
    expect(performance.now() - start).toBeLessThan(900)
    expect(await read(1000)).toMatchObject({ shards: [{ leaderSeqno: 31n }] })
  })

  it('are found again at another address', async () => {
    const { know, read, readConnected, answers, asked, restart } = createHosts()
    await expect(read()).rejects.toThrow('nats_2')
    expect(await readConnected()).toEqual(ALL)
    const moved = performance.now() + 61_000
    vi.spyOn(performance, 'now').mockImplementation(() => moved)
    answers['10.0.0.7'] = answers['10.0.0.2']
    answers['10.0.0.2'] = structuredClone(answers['[fd00::3]'])
    restart('10.0.0.2')
    know({ connect_urls: ['10.0.0.7:4222'] })
    await expect(read()).rejects.toThrow(
      'its leader nats_2 cannot be read: http://10.0.0.2:8222/nats: this is server nats_3, no longer nats_2',
    )
    expect(await readConnected()).toEqual(ALL)
    asked.length = 0
    await read()
    expect(asked).not.toContain('10.0.0.2 /nats/jsz')
  })

  it('are forgotten when they were removed from the cluster', async () => {
    const { read, answers, asked, readConnected } = createHosts()
    await expect(read()).rejects.toThrow('nats_2')
    expect(await readConnected()).toEqual(ALL)
    const { meta_cluster } = answers['10.0.0.2']?.jsz as { meta_cluster: object }
    Object.assign(meta_cluster, { replicas: [{ name: 'nats_1' }], cluster_size: 2 })
    delete answers['[fd00::3]']
    await read()
    asked.length = 0
    expect(await read()).toMatchObject({ unread: undefined, complete: true })
    expect(asked.some((each) => each.startsWith('[fd00'))).toBe(false)
  })
})
