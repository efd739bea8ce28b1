import { describe, expect, it } from 'vitest'
import { createFake, listOf, readShard, STATUSES } from './fakes.js'

const READ = { connected: true, appliedSeqno: 9n }
const UNUSABLE = 'which cannot be used from here: add its URL to endpoints'

/** Which hosts are asked for their status in one read. */
async function hostsAsked(fake: ReturnType<typeof createFake>): Promise<string[]> {
  const asked: string[] = []
  fake.cluster.onAsk = (host, path) => path.endsWith('status') && asked.push(host)
  await fake.read()
  return asked.sort()
}

describe('the members of a cluster', () => {
  it.each(['e1', 'e2'])('are all read at the first read from one endpoint: %s', async (host) => {
    const fake = createFake({ endpoints: [`http://${host}:2379`] })
    const { follower, complete, problem } = await readShard(fake)
    expect(follower('e2')).toMatchObject(READ)
    expect(follower('e3')).toMatchObject(READ)
    expect({ complete, problem }).toEqual({ complete: true, problem: undefined })
    expect(await hostsAsked(fake)).toEqual(['e1', 'e2', 'e3'])
  })

  it('are found in the time that a read may take, even while one hangs', async () => {
    const fake = createFake({ endpoints: ['http://e2:2379'] })
    fake.cluster.onAsk = (host) => host === 'e3' && new Promise(() => undefined)
    for (let i = 0; i < 2; i++) {
      const { follower } = await readShard(fake, 400)
      expect(follower('e2')).toMatchObject(READ)
      expect(follower('e3')).toMatchObject({ connected: false })
    }
  })

  it('include a learner, and one that joins is read at the next read', async () => {
    const fake = createFake({ endpoints: ['http://e1:2379'] })
    await fake.read()
    fake.cluster.members = listOf({ learner: { name: 'e4', clientURLs: ['http://e4:2379'] } })
    const header = { ...STATUSES.e2.header, member_id: '1580764089160888188' }
    fake.change('e4', { ...STATUSES.e2, header })
    expect((await readShard(fake)).follower('e4')).toMatchObject(READ)
  })

  it('are read at the URLs that they have changed to', async () => {
    const fake = createFake()
    await fake.read()
    fake.cluster.members = listOf({ e3: { clientURLs: ['http://moved:2379'] } })
    fake.cluster.statuses['moved'] = fake.cluster.statuses['e3']
    delete fake.cluster.statuses['e3']
    expect((await readShard(fake)).follower('e3')).toMatchObject(READ)
  })

  it('are no longer asked once they are removed', async () => {
    const fake = createFake({ endpoints: ['http://e1:2379'] })
    await fake.read()
    const { members } = listOf()
    fake.cluster.members = { members: members.filter(({ name }) => name !== 'e3') }
    await fake.read()
    expect(await hostsAsked(fake)).toEqual(['e1', 'e2'])
  })

  it('are asked at the endpoints if these lead to them under other names', async () => {
    const fake = createFake({ endpoints: ['http://a:1', 'http://b:2'] })
    fake.cluster.statuses['a'] = STATUSES.e1
    fake.cluster.statuses['b'] = STATUSES.e2
    expect((await readShard(fake)).names).toContain('e3')
    expect(await hostsAsked(fake)).toEqual(['a', 'b', 'e3'])
  })

  it('are found again by the endpoints when all others were replaced while nothing was read', async () => {
    const fake = createFake()
    await fake.read()
    const at = (url: string) => ({ clientURLs: [url] })
    fake.cluster.members = listOf({ e1: at('http://f1:2379'), e2: at('http://f2:2379') })
    fake.cluster.statuses = { f1: STATUSES.e1, f2: STATUSES.e2, e3: STATUSES.e3 }
    await expect(fake.read()).rejects.toThrow('the leader of etcd, member e1')
    expect((await readShard(fake)).follower('e2')).toMatchObject(READ)
  })

  it('are read at each of their URLs until one answers', async () => {
    const fake = createFake({ endpoints: ['http://e1:2379'] })
    const clientURLs = ['http://inside:2379', 'http://outside:2379/', 'unix://e3', 'no url']
    fake.cluster.members = listOf({ e3: { clientURLs } })
    const before = await readShard(fake)
    expect(before.follower('e3')?.problem).toBe(
      'cannot be read: http://inside:2379/v3/maintenance/status: fetch failed; ' +
        'http://outside:2379/v3/maintenance/status: fetch failed. If it has another URL, add that to endpoints',
    )
    fake.cluster.statuses['outside'] = STATUSES.e3
    expect((await readShard(fake)).follower('e3')).toMatchObject(READ)
    expect(await hostsAsked(fake)).toEqual(['e1', 'e2', 'outside'])
    fake.cluster.statuses = { ...STATUSES, inside: STATUSES.e3 }
    expect((await readShard(fake)).follower('e3')).toMatchObject(READ)
  })

  it.each([
    ['http://0.0.0.0:2379', 'http://e1:2379'],
    ['http://[::]:2379', 'http://e1:2379'],
    ['http://localhost:2379', 'http://e1:2379'],
    ['http://127.0.0.1:2379', 'http://e1:2379'],
    ['http://[::1]:2379', 'http://e1:2379'],
    ['http://0.0.0.0:2379', 'http://localhost:2379'],
    ['http://e2:2379', 'https://e1:2379'],
  ])('are not asked at %s from %s', async (url, endpoint) => {
    const fake = createFake({ endpoints: [endpoint] })
    fake.cluster.statuses['localhost'] = STATUSES.e1
    fake.cluster.members = listOf({ e2: { clientURLs: [url] } })
    const { follower } = await readShard(fake)
    const problem = `cannot be read: it advertises ${url}, ${UNUSABLE}`
    expect(follower('e2')).toEqual({ replica: 'e2', connected: false, problem })
    expect(await hostsAsked(fake)).not.toContain(new URL(url).hostname)
  })

  it('are asked on this machine if the endpoint is on it', async () => {
    const fake = createFake({ endpoints: ['http://localhost:1'] })
    fake.cluster.statuses['localhost'] = STATUSES.e1
    fake.cluster.statuses['127.0.0.1'] = STATUSES.e2
    fake.cluster.members = listOf({ e2: { clientURLs: ['http://127.0.0.1:2'] } })
    expect((await readShard(fake)).follower('e2')).toMatchObject(READ)
  })

  it('are not asked at a URL that several advertise', async () => {
    const fake = createFake({ endpoints: ['http://e1:2379'] })
    const clientURLs = ['http://localhost:2379']
    fake.cluster.members = listOf({ e2: { clientURLs }, e3: { clientURLs, name: 'e3' } })
    const { follower } = await readShard(fake)
    const problem = `cannot be read: it advertises http://localhost:2379, ${UNUSABLE}`
    expect(follower('e2')).toMatchObject({ connected: false, problem })
    expect(follower('e3')).toMatchObject({ connected: false, problem })
  })

  it('have no position if another member answers at their URL', async () => {
    const fake = createFake({ endpoints: ['http://e1:2379'] })
    fake.cluster.statuses['e2'] = STATUSES.e3
    delete fake.cluster.statuses['e3']
    const { follower } = await readShard(fake)
    const problem =
      'cannot be read: http://e2:2379 is the URL of the member dde588b692616e11. If it has another URL'
    expect(follower('e2')?.problem).toContain(problem)
    expect(follower('e3')).toMatchObject(READ)
  })

  it('are named as started if they advertise no URL', async () => {
    const fake = createFake({ endpoints: ['http://e1:2379'] })
    fake.cluster.members = listOf({ e2: { clientURLs: [] } })
    expect((await readShard(fake)).follower('e2')?.problem).toBe(
      'cannot be read: it advertises no URL to clients',
    )
  })

  it('are all read behind one URL that leads to each in turn', async () => {
    const fake = createFake({ endpoints: ['http://proxy:1'] })
    const all = Object.values(STATUSES)
    let turn = 0
    fake.cluster.onAsk = (host, path) => {
      if (host !== 'proxy' || !path.endsWith('status')) return
      fake.cluster.statuses['proxy'] = all[turn++ % 3]
    }
    for (let i = 0; i < 7; i++) {
      const { follower, problem } = await readShard(fake)
      expect(follower('e2')).toMatchObject(READ)
      expect(follower('e3')).toMatchObject(READ)
      expect(problem).toBeUndefined()
    }
  })

  it('are asked with the user and password of the endpoint', async () => {
    const sent = new Set<string>()
    const fake = createFake({ endpoints: ['http://user:secret@e1:2379'] })
    fake.cluster.onAsk = (host, _, { authorization }) => sent.add(`${host} ${authorization}`)
    await fake.read()
    const basic = `Basic ${btoa('user:secret')}`
    expect([...sent].sort()).toEqual(['e1', 'e2', 'e3'].map((host) => `${host} ${basic}`))
  })

  it('name an endpoint that is of no member', async () => {
    const fake = createFake({ endpoints: ['http://e1:2379', 'http://gone:1', 'http://old:2'] })
    fake.change('old', { ...STATUSES.e2, header: { ...STATUSES.e2.header, member_id: '5' } })
    expect((await readShard(fake)).problem).toBe(
      'http://gone:1/v3/maintenance/status: fetch failed; http://old:2 is the URL of the member 5, which is not in the list',
    )
  })
})
