import { mariadbSource } from 'opentelemetry-instrumentation-replication-lag/sources/mariadb'
import { mysqlSource } from 'opentelemetry-instrumentation-replication-lag/sources/mysql'
import { describe, expect, it } from 'vitest'
import { FakeClient, mariadb, mysql, onlyShard, read, serverError, type Row } from './fakes.js'

/** What a server says of itself. Servers have the numbers of their ids; 9 is one that is not among the nodes. */
interface Server {
  readonly id: number
  /** The servers that it replicates from; 0 is one whose id it does not know. A negative one has been stopped. */
  readonly follows?: readonly number[] | 'hidden' | 'unreadable'
  readonly isReadOnly?: boolean
  /** How many transactions it has, and how many of its own. */
  readonly has?: number
  readonly own?: number
  /** Default: that of its id. */
  readonly address?: string
}

const UNREADABLE = serverError(1146, 'ER_NO_SUCH_TABLE', 'there is no such table')

/** How the two systems say so. */
const SYSTEMS = {
  mysql: {
    create: mysqlSource,
    hidden: serverError(1142, 'ER_TABLEACCESS_DENIED_ERROR', 'SELECT command denied'),
    grant: 'GRANT SELECT ON performance_schema.replication_connection_status',
    uuid: (id: number) => `00000000-0000-0000-0000-00000000000${id}`,
    state(server: Server): Row {
      const { id, isReadOnly, has = 10, own = 0 } = server
      const written = own > 0 ? `,${this.uuid(id)}:1-${own}` : ''
      return {
        ...mysql.LEADER,
        server_uuid: this.uuid(id),
        address: server.address ?? `db-${id}`,
        gtid_executed: `${this.uuid(8)}:1-${has}${written}`,
        read_only: isReadOnly === undefined ? undefined : String(Number(isReadOnly)),
      }
    },
    link(leader: number): Row {
      return {
        ...mysql.CHANNEL,
        source_uuid: leader === 0 ? '' : this.uuid(Math.abs(leader)),
        service_state: leader < 0 ? 'OFF' : leader === 0 ? 'CONNECTING' : 'ON',
        received_transaction_set: '',
      }
    },
  },
  mariadb: {
    create: mariadbSource,
    hidden: serverError(1227, 'ER_SPECIFIC_ACCESS_DENIED_ERROR', 'Access denied'),
    grant: 'GRANT REPLICA MONITOR',
    state(server: Server): Row {
      const { id, isReadOnly, has = 10, own = 0 } = server
      const written = own > 0 ? `,0-${id}-${has + own}` : ''
      return {
        ...mariadb.LEADER,
        server_id: String(id),
        address: server.address ?? `db-${id}`,
        gtid_slave_pos: `0-8-${has}`,
        gtid_binlog_pos: own > 0 ? `0-${id}-${has + own}` : `0-8-${has}`,
        gtid_binlog_state: `0-8-${has}${written}`,
        read_only: isReadOnly === undefined ? undefined : isReadOnly ? 'ON' : 'OFF',
      }
    },
    link(leader: number): Row {
      return {
        ...mariadb.LINK,
        Master_Server_Id: Math.abs(leader),
        Slave_IO_Running: leader < 0 ? 'No' : leader === 0 ? 'Connecting' : 'Yes',
        Gtid_IO_Pos: '',
      }
    },
  },
}

describe.each(Object.entries(SYSTEMS))('%s', (_, system) => {
  function answer(client: FakeClient, server: Server): void {
    const { follows = [] } = server
    client.states.splice(0, 1, system.state(server))
    if (follows === 'hidden') client.links = system.hidden
    else if (follows === 'unreadable') client.links = UNREADABLE
    else client.links = follows.map((leader) => system.link(leader))
  }

  /** Nodes whose answers can change. */
  class System {
    readonly clients = new Map<string, FakeClient>()
    readonly source

    constructor(servers: Record<string, Server | 'dead'>) {
      this.change(servers)
      this.source = system.create({ nodes: Object.fromEntries(this.clients), shard: 'a' })
    }

    change(servers: Record<string, Server | 'dead'>): void {
      for (const [name, server] of Object.entries(servers)) {
        const client = this.clients.get(name) ?? new FakeClient([undefined])
        this.clients.set(name, client)
        client.error = server === 'dead' ? new Error('gone') : undefined
        if (server !== 'dead') answer(client, server)
      }
    }

    /** The names of the followers, with what is notable of each; and the problem of the shard, or the error. */
    async followers() {
      const reading = await read(this.source).catch((error: unknown) => (error as Error).message)
      if (typeof reading === 'string') return reading
      const { followers, leaderSeqno } = onlyShard(reading)
      if (leaderSeqno === undefined) return 'no leader'
      const states = Object.entries(followers).map(([name, each]) => [
        name,
        each.diverged === true ? 'diverged' : each.connected === false ? 'off' : 'on',
      ])
      return Object.fromEntries(states) as Record<string, string>
    }

    async problem() {
      return onlyShard(await read(this.source)).problem
    }
  }

  const STAR = { a: { id: 1 }, b: { id: 2, follows: [1] }, c: { id: 3, follows: [1] } }

  it.each<[string, Record<string, Server | 'dead'>, Record<string, string> | string | RegExp]>([
    ['the server that others follow', STAR, { b: 'on', c: 'on' }],
    ['the only server', { a: { id: 1 } }, {}],
    [
      'the first of a chain',
      { c: { id: 3, follows: [2] }, b: { id: 2, follows: [1] }, a: { id: 1 } },
      { c: 'on', b: 'on' },
    ],
    [
      'a server that follows one that is not listed, and that others follow',
      { a: { id: 1, follows: [9] }, b: { id: 2, follows: [1] } },
      { b: 'on' },
    ],
    [
      'the only one of two that accepts writes',
      { a: { id: 1, isReadOnly: true }, b: { id: 2, isReadOnly: false } },
      { a: 'off' },
    ],
    [
      'the only one that accepts writes of two that follow each other',
      {
        a: { id: 1, follows: [2], isReadOnly: true },
        b: { id: 2, follows: [1], isReadOnly: false },
        c: { id: 3, follows: [2], isReadOnly: true },
      },
      { a: 'on', c: 'on' },
    ],
    [
      'a server that was promoted, and that others follow, even if it was not reset',
      {
        a: 'dead',
        b: { id: 2, follows: [-1], isReadOnly: false },
        c: { id: 3, follows: [2], isReadOnly: true },
      },
      { a: 'off', c: 'on' },
    ],
    [
      'a server that has written since it was stopped, although its former leader is back',
      {
        a: { id: 1, isReadOnly: true },
        b: { id: 2, follows: [-1], isReadOnly: false, own: 2 },
        c: { id: 3, follows: [2], isReadOnly: true, own: 0 },
      },
      { a: 'off', c: 'on' },
    ],
    [
      'no server that was only stopped',
      { a: { id: 1 }, b: { id: 2, follows: [-1], isReadOnly: false }, c: { id: 3, follows: [2] } },
      { b: 'off', c: 'on' },
    ],
    [
      'no server that is dead, if another accepts writes and follows none',
      { a: 'dead', b: { id: 2, isReadOnly: false }, c: { id: 3, follows: [0] } },
      { a: 'off', c: 'off' },
    ],
    ['a server that only reads, if all answer', { a: { id: 1, isReadOnly: true } }, {}],
    [
      'no server that only reads, if another is dead',
      { a: { id: 1, isReadOnly: true }, b: 'dead' },
      / b: gone$/,
    ],
    [
      'no server that may follow another one, if that is dead',
      { a: 'dead', b: { id: 2, follows: 'hidden', isReadOnly: false } },
      / a: gone$/,
    ],
    [
      'a dead one, if another follows a server that has never answered',
      { a: 'dead', b: { id: 2, follows: [1] } },
      / a: gone$/,
    ],
    [
      'one of several dead ones',
      { a: 'dead', b: 'dead' },
      /no node that answers leads, and a and b cannot be read\. .* a: gone$/,
    ],
    [
      'none, if all follow a server that is not listed',
      { a: { id: 1, follows: [9] }, b: { id: 2, follows: [9] } },
      /no node leads: a and b follow servers that are not in nodes\. Add their leader to nodes$/,
    ],
    [
      'none, if two that follow each other accept writes',
      {
        a: { id: 1, follows: [2], isReadOnly: false },
        b: { id: 2, follows: [1], isReadOnly: false },
      },
      'no leader',
    ],
    [
      'none, if two have followers and accept writes',
      {
        a: { id: 1, isReadOnly: false },
        b: { id: 2, isReadOnly: false },
        c: { id: 3, follows: [1] },
        d: { id: 4, follows: [2] },
      },
      'no leader',
    ],
    [
      'the server that others follow, if its privilege is missing',
      { ...STAR, a: { id: 1, follows: 'hidden', isReadOnly: false } },
      { b: 'on', c: 'on' },
    ],
    [
      'the only one that accepts writes, without any privilege',
      {
        a: { id: 1, follows: 'hidden', isReadOnly: false },
        b: { id: 2, follows: 'hidden', isReadOnly: true },
      },
      { b: 'off' },
    ],
    [
      'none, if all accept writes and the privilege is missing',
      {
        a: { id: 1, follows: 'hidden', isReadOnly: false },
        b: { id: 2, follows: 'hidden', isReadOnly: false },
      },
      new RegExp(
        `which node leads is unknown\\. a: the user may not see the replication state: ${system.grant}`,
      ),
    ],
    [
      'none, if all only read and the privilege is missing',
      { a: { id: 1, follows: 'hidden', isReadOnly: true }, b: 'dead' },
      / b: gone$/,
    ],
    [
      'none, if the replication state cannot be read',
      { a: { id: 1, follows: 'unreadable' }, b: { id: 2, follows: 'unreadable' } },
      /which node leads is unknown\. a: its replication state cannot be read: ER_NO_SUCH_TABLE: there is no such table$/,
    ],
  ])('is led by %s', async (_title, servers, expected) => {
    const found = await new System(servers).followers()
    if (expected instanceof RegExp) expect(found).toMatch(expected)
    else expect(found).toEqual(expected)
  })

  it('remembers who a node was that has died', async () => {
    const chain = new System({
      a: { id: 1 },
      b: { id: 2, follows: [1] },
      c: { id: 3, follows: [2] },
      d: { id: 4, follows: [1] },
    })
    await read(chain.source)
    chain.change({ d: 'dead' })
    expect(await chain.followers()).toEqual({ b: 'on', c: 'on', d: 'off' })
    // The second of the chain does not become the leader, although the third follows it.
    chain.change({ a: 'dead' })
    expect(await chain.followers()).toMatch(/leader a: gone$/)
    // MariaDB forgets the id of a leader when it starts again.
    chain.change({ b: { id: 2, follows: [0] } })
    expect(await chain.followers()).toMatch(/gone$/)
  })

  it('keeps its leader when a follower dies, although nothing else shows which node leads', async () => {
    for (const follows of [undefined, 'hidden'] as const) {
      const leader = { id: 1, isReadOnly: follows === undefined, ...(follows && { follows }) }
      const pair = new System({
        a: leader,
        b: { id: 2, follows: follows ?? [1], isReadOnly: true },
      })
      await read(pair.source)
      pair.change({ b: 'dead' })
      expect(await pair.followers()).toEqual({ b: 'off' })
    }
  })

  it('is led by a server that has written since it was stopped, also where it is not known what others commit', async () => {
    const states = new System({
      a: { id: 1, isReadOnly: true },
      b: { id: 2, follows: [-1], isReadOnly: false, own: 2 },
      c: { id: 3, follows: [2], isReadOnly: true },
    })
    const first = states.clients.get('a') as FakeClient
    first.states.splice(0, 1, { ...(first.states[0] as Row), gtid_owned: undefined })
    expect(await states.followers()).toEqual({ a: 'off', c: 'on' })
  })

  it('follows a failover, and reports the old leader when it is back', async () => {
    const star = new System(STAR)
    await read(star.source)
    star.change({ a: 'dead' })
    expect(await star.followers()).toMatch(/leader a: gone$/)
    star.change({ b: { id: 2, isReadOnly: false } })
    expect(await star.followers()).toEqual({ a: 'off', c: 'on' })
    star.change({ c: { id: 3, follows: [2] } })
    expect(await star.followers()).toEqual({ a: 'off', c: 'on' })
    star.change({ a: { id: 1, follows: [2] } })
    expect(await star.followers()).toEqual({ a: 'on', c: 'on' })
    star.change({ a: { id: 1, follows: [2], own: 1 } })
    expect(await star.followers()).toEqual({ a: 'diverged', c: 'on' })
  })

  it('has a problem if another node accepts writes and follows none', async () => {
    const star = new System({ ...STAR, a: { id: 1, isReadOnly: false } })
    expect(await star.problem()).toBe(undefined)
    star.change({ b: { id: 2, isReadOnly: false } })
    expect(await star.followers()).toEqual({ b: 'off', c: 'on' })
    expect(await star.problem()).toMatch(
      /^two nodes claim to lead: a and b do not follow each other\. Make all but one a replica, and set (super_)?read_only on it$/,
    )
    star.change({ c: { id: 3, isReadOnly: false } })
    expect(await star.followers()).toBe('no leader')
    expect(await star.problem()).toMatch(/^3 nodes claim to lead: a, b and c/)
  })

  it('says that the nodes are those of a Galera cluster', async () => {
    const cluster = new System({ a: { id: 1 }, b: { id: 2 } })
    const first = cluster.clients.get('a') as FakeClient
    first.galera = [{ Variable_name: 'wsrep_cluster_size', Value: '2' }]
    expect(await cluster.problem()).toMatch(
      /^a and b are nodes of a Galera cluster, which has no leader/,
    )
    first.galera = [{ Variable_name: 'wsrep_cluster_size', Value: '0' }]
    expect(await cluster.problem()).toMatch(/^two nodes claim to lead/)
    first.galera = new Error('no')
    expect(await cluster.problem()).toMatch(/^two nodes claim to lead/)
  })

  it('names nodes that reach the same server', async () => {
    const proxy = new System({ ...STAR, vip: { id: 1 } })
    expect(await proxy.followers()).toEqual({ b: 'on', c: 'on' })
    expect(await proxy.problem()).toBe(
      'a and vip reach the same server: give each node its own address, not that of a proxy or one that moves',
    )
    // The one that the second name stands for is not known.
    proxy.change({ vip: { id: 3, follows: [1] } })
    expect(await proxy.followers()).toEqual({ b: 'on', c: 'diverged', vip: 'diverged' })
    expect(await proxy.problem()).toMatch(/^c and vip reach the same server/)
    proxy.change({ vip: 'dead' })
    expect(await proxy.followers()).toEqual({ b: 'on', c: 'on', vip: 'off' })
    expect(await proxy.problem()).toBe(undefined)
  })

  it('does not take a server without an address for another one', async () => {
    const clones = new System({ ...STAR, d: { id: 3, follows: [1], address: 'db-4' } })
    expect(await clones.followers()).toEqual({ b: 'on', c: 'diverged', d: 'diverged' })
    expect(await clones.problem()).toBe(undefined)
  })

  it('marks a leader that follows another server itself', async () => {
    const cascade = new System({ a: { id: 1, follows: [9] }, b: { id: 2, follows: [1] } })
    expect(onlyShard(await read(cascade.source)).cascading).toBe(true)
    expect(onlyShard(await read(new System(STAR).source))).not.toHaveProperty('cascading')
  })
})
