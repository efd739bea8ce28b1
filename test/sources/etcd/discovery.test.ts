import { describe, expect, it } from 'vitest'
import { createFake, listOf, readShard, STATUSES } from './fakes.js'

type Fake = ReturnType<typeof createFake>

const READ = { connected: true, appliedSeqno: 9n }
const E1 = ['http://e1:2379']
const at = (...clientURLs: string[]) => ({ clientURLs })
const unread = (problem: string) => ({ connected: false, problem: `cannot be read: ${problem}` })
const unusable = (url: string) =>
  unread(`it advertises ${url}, which cannot be used from here: add its URL to endpoints`)
/** A member that is another one than e2, by its id. */
const withId = (member_id: string) => ({
  ...{ ...STATUSES.e2, header: { ...STATUSES.e2.header, member_id } },
})
const withoutE3 = () => ({ members: listOf().members.filter(({ name }) => name !== 'e3') })

/** Reads from the endpoint of e1, with changed members and statuses. */
async function readFromE1(members: Parameters<typeof listOf>[0], statuses: object = {}) {
  const fake = createFake({ endpoints: E1 })
  fake.cluster.members = listOf(members)
  Object.assign(fake.cluster.statuses, statuses)
  return (await readShard(fake)).follower
}

/** Which hosts are asked for their status in one read. */
async function hostsAsked(fake: Fake): Promise<string[]> {
  const asked: string[] = []
  fake.cluster.onAsk = (host, path) => path.endsWith('status') && asked.push(host)
  await fake.read()
  return asked.sort()
}

describe('the members of a cluster', () => {
  it.each(['e1', 'e2'])('are all read at the first read from one endpoint: %s', async (host) => {
    const fake = createFake({ endpoints: [`http://${host}:2379`] })
    const { follower, complete, problem } = await readShard(fake)
    for (const name of ['e2', 'e3']) expect(follower(name)).toMatchObject(READ)
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

  it('include a learner, and one that joins or moves is read at the next read', async () => {
    const fake = createFake()
    await fake.read()
    const learner = { name: 'e4', ...at('http://e4:2379') }
    fake.cluster.members = listOf({ learner, e3: at('http://moved:2379') })
    const e4 = withId('1580764089160888188')
    fake.cluster.statuses = { ...STATUSES, e3: undefined, moved: STATUSES.e3, e4 }
    const { follower } = await readShard(fake)
    for (const name of ['e3', 'e4']) expect(follower(name)).toMatchObject(READ)
  })

  it('are known by an endpoint that they do not advertise, even if they were replaced', async () => {
    const fake = createFake({ endpoints: [...E1, 'http://b:2'] })
    for (const [ID, b] of [
      [STATUSES.e2.header.member_id, STATUSES.e2],
      ['5', withId('5')],
    ]) {
      fake.cluster.members = listOf({ e2: { ID, ...at('http://0.0.0.0:2379') } })
      fake.cluster.statuses['b'] = b
      for (let i = 0; i < 2; i++) expect((await readShard(fake)).follower('e2')).toMatchObject(READ)
    }
    fake.cluster.statuses['b'] = undefined
    const { follower } = await readShard(fake)
    expect(follower('e2')?.problem).toContain('http://b:2/v3/maintenance/status: fetch failed')
  })

  it('are no longer asked once they are removed', async () => {
    const fake = createFake({ endpoints: E1 })
    await fake.read()
    fake.cluster.members = withoutE3()
    await fake.read()
    expect(await hostsAsked(fake)).toEqual(['e1', 'e2'])
  })

  it('are asked at the endpoints if these lead to them under other names', async () => {
    const fake = createFake({ endpoints: ['http://a:1', 'http://b:2'] })
    Object.assign(fake.cluster.statuses, { a: STATUSES.e1, b: STATUSES.e2 })
    expect((await readShard(fake)).names).toContain('e3')
    expect(await hostsAsked(fake)).toEqual(['a', 'b', 'e3'])
  })

  it('are found again by the endpoints when all others were replaced while nothing was read', async () => {
    const fake = createFake()
    await fake.read()
    fake.cluster.members = listOf({ e1: at('http://f1:2379'), e2: at('http://f2:2379') })
    fake.cluster.statuses = { f1: STATUSES.e1, f2: STATUSES.e2, e3: STATUSES.e3 }
    await expect(fake.read()).rejects.toThrow('the leader of etcd, member e1')
    expect((await readShard(fake)).follower('e2')).toMatchObject(READ)
  })

  it('are read at each of their URLs until one answers', async () => {
    const fake = createFake({ endpoints: E1 })
    const e3 = at('http://inside:2379', 'http://outside:2379/', 'unix://e3', 'no url')
    fake.cluster.members = listOf({ e3 })
    expect((await readShard(fake)).follower('e3')).toMatchObject(
      unread(
        'http://inside:2379/v3/maintenance/status: fetch failed; ' +
          'http://outside:2379/v3/maintenance/status: fetch failed. If it has another URL, add that to endpoints',
      ),
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
    fake.cluster.members = listOf({ e2: at(url) })
    expect((await readShard(fake)).follower('e2')).toEqual({ replica: 'e2', ...unusable(url) })
    expect(await hostsAsked(fake)).not.toContain(new URL(url).hostname)
  })

  it('are asked on this machine if the endpoint is on it', async () => {
    const fake = createFake({ endpoints: ['http://localhost:1'] })
    Object.assign(fake.cluster.statuses, { localhost: STATUSES.e1, '127.0.0.1': STATUSES.e2 })
    fake.cluster.members = listOf({ e2: at('http://127.0.0.1:2') })
    expect((await readShard(fake)).follower('e2')).toMatchObject(READ)
  })

  it('are not asked at a URL that several advertise', async () => {
    const url = 'http://localhost:2379'
    const follower = await readFromE1({ e2: at(url), e3: at(url) })
    for (const name of ['e2', 'e3']) expect(follower(name)).toMatchObject(unusable(url))
  })

  it('have no position if another member answers at their URL', async () => {
    const follower = await readFromE1({}, { e2: STATUSES.e3, e3: undefined })
    const why = 'http://e2:2379 is the URL of the member dde588b692616e11. If it has another URL'
    expect(follower('e2')?.problem).toContain(why)
    expect(follower('e3')).toMatchObject(READ)
  })

  it('are named as started if they advertise no URL', async () => {
    const follower = await readFromE1({ e2: at() })
    expect(follower('e2')).toMatchObject(unread('it advertises no URL to clients'))
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
      for (const name of ['e2', 'e3']) expect(follower(name)).toMatchObject(READ)
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
    const fake = createFake({ endpoints: [...E1, 'http://gone:1', 'http://old:2'] })
    fake.change('old', withId('5'))
    expect((await readShard(fake)).problem).toBe(
      'http://gone:1/v3/maintenance/status: fetch failed; http://old:2 is the URL of the member 5, which is not in the list',
    )
  })
})
