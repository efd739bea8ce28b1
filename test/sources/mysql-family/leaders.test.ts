import { describe, expect, it } from 'vitest'
import { FakeClient, mariadb, mysql, onlyShard, read, serverError, type Row } from './fakes.js'

const UNREADABLE = serverError(1146, 'ER_NO_SUCH_TABLE', 'there is no such table')

/** What a server says of itself. */
interface Server {
  readonly id: number
  readonly address: string
  readonly isReadOnly: boolean | undefined
  /** How many transactions of its own it has. */
  readonly own: number
}

/** How the two systems say so. */
const SYSTEMS = [
  {
    ...mysql,
    title: 'MySQL',
    hidden: serverError(1142, 'ER_TABLEACCESS_DENIED_ERROR', 'SELECT command denied'),
    grant: 'GRANT SELECT ON performance_schema.replication_connection_status',
    readOnly: 'super_read_only',
    uuid: (id: number) => `00000000-0000-0000-0000-00000000000${id}`,
    state({ id, address, isReadOnly, own }: Server): Row {
      const written = own > 0 ? `,${this.uuid(id)}:1-${own}` : ''
      const gtid_executed = `${this.uuid(8)}:1-10${written}`
      const read_only = isReadOnly === undefined ? undefined : String(Number(isReadOnly))
      return { ...mysql.LEADER, server_uuid: this.uuid(id), address, gtid_executed, read_only }
    },
    link(leader: number, isStopped: boolean): Row {
      return {
        ...mysql.LINK,
        source_uuid: leader === 0 ? '' : this.uuid(leader),
        service_state: isStopped ? 'OFF' : leader === 0 ? 'CONNECTING' : 'ON',
        received_transaction_set: '',
      }
    },
  },
  {
    ...mariadb,
    title: 'MariaDB',
    hidden: serverError(1227, 'ER_SPECIFIC_ACCESS_DENIED_ERROR', 'Access denied'),
    grant: 'GRANT REPLICA MONITOR',
    readOnly: 'read_only',
    state({ id, address, isReadOnly, own }: Server): Row {
      const written = own > 0 ? `0-${id}-${10 + own}` : '0-8-10'
      return {
        ...mariadb.LEADER,
        server_id: String(id),
        address,
        gtid_slave_pos: '0-8-10',
        gtid_binlog_pos: written,
        gtid_binlog_state: own > 0 ? `0-8-10,${written}` : written,
        read_only: isReadOnly === undefined ? undefined : isReadOnly ? 'ON' : 'OFF',
      }
    },
    link(leader: number, isStopped: boolean, name: string): Row {
      return {
        ...mariadb.LINK,
        Master_Server_Id: leader,
        Master_Host: name === 'new' ? 'new' : 'db',
        Slave_IO_Running: isStopped ? 'No' : leader === 0 ? 'Connecting' : 'Yes',
        Gtid_IO_Pos: '',
      }
    },
  },
]

const NODE = /^(\w+?)(?:=(\d)(?:@(.+?))?)?(!)?(?:<(-?)(\w+|\?))?(?::([rw]))?(?:\+(\d))?$/
/** The ids of servers. 9 is not among the nodes, ? has not sent its id yet, and neither has new, at another address. */
const IDS: Readonly<Record<string, number>> = { a: 1, b: 2, c: 3, d: 4, 9: 9, '?': 0, new: 0 }

describe.each(SYSTEMS)('$title', (system) => {
  /** Nodes whose answers can change. */
  class System {
    readonly clients = new Map<string, FakeClient>()
    readonly source

    constructor(nodes: string) {
      this.change(nodes)
      this.source = system.create({ nodes: Object.fromEntries(this.clients), shard: 'a' })
    }

    /**
     * Changes nodes. In `a:w b<a:r c<-a d!`, `a` accepts writes, `b` only reads and replicates from `a`, `c` was stopped, and
     * `d` is dead. `<hidden` and `<unreadable` are errors. `+2` has written two transactions. `c=1` is the server of `a`.
     */
    change(nodes: string): void {
      for (const node of nodes.split(' ')) {
        const [, name = '', id, address, isDead, stopped, leader, mode, own] = NODE.exec(node) ?? []
        const client = this.clients.get(name) ?? new FakeClient([undefined])
        this.clients.set(name, client)
        client.error = isDead ? new Error('gone') : undefined
        const number = Number(id ?? IDS[name])
        const server = { id: number, address: address ?? `db-${number}`, own: Number(own ?? 0) }
        const isReadOnly = mode === undefined ? undefined : mode === 'r'
        client.states.splice(0, 1, system.state({ ...server, isReadOnly }))
        if (leader === undefined) client.links = []
        else if (leader === 'hidden') client.links = system.hidden
        else if (leader === 'unreadable') client.links = UNREADABLE
        else client.links = [system.link(IDS[leader] ?? NaN, stopped === '-', leader)]
      }
    }

    /** Returns the followers with what is notable of each, as `b:on c:off`, or the error; and the problem of the shard. */
    async read(): Promise<{ found: string; problem?: string | undefined }> {
      const reading = await read(this.source).catch((error: unknown) => (error as Error).message)
      if (typeof reading === 'string') return { found: reading }
      const { followers, leaderSeqno, problem } = onlyShard(reading)
      const states = Object.entries(followers).map(([name, { diverged, connected }]) => {
        return `${name}:${diverged === true ? 'diverged' : connected === false ? 'off' : 'on'}`
      })
      return { found: leaderSeqno === undefined ? 'no leader' : states.join(' '), problem }
    }
  }

  /** Expects the followers or the error, or the problem too. */
  async function check(nodes: System, expected: string | RegExp, problem?: RegExp | null) {
    const read = await nodes.read()
    if (typeof expected === 'string') expect(read.found).toBe(expected)
    else expect(read.found).toMatch(expected)
    if (problem === null) expect(read.problem).toBeUndefined()
    else if (problem) expect(read.problem).toMatch(problem)
  }

  const REPLICATION = new RegExp(`the user may not see the replication state: ${system.grant}`)
  it.each<[title: string, nodes: string, expected: string | RegExp]>([
    ['the server that others follow', 'a b<a c<a', 'b:on c:on'],
    ['the only server', 'a', ''],
    ['the first of a chain', 'c<b b<a a', 'c:on b:on'],
    ['one that follows a server that is not listed, and that others follow', 'a<9 b<a', 'b:on'],
    ['the only one of two that accepts writes', 'a:r b:w', 'a:off'],
    ['the only one of a circle that accepts writes', 'a<b:r b<a:w c<b:r', 'a:on c:on'],
    ['one that was promoted, not reset, and is followed', 'a! b<-a:w c<b:r', 'a:off c:on'],
    ['one that has written since it was stopped', 'a:r b<-a:w+2 c<b:r', 'a:off c:on'],
    ['no server that was only stopped', 'a b<-a:w c<b', 'b:off c:on'],
    ['no dead one, if another accepts writes and follows none', 'a! b:w c<?', 'a:off c:off'],
    ['a server that only reads, if all answer', 'a:r', ''],
    ['no server that only reads, if another is dead', 'a:r b!', / b: gone$/],
    ['no server that may follow one that is dead', 'a! b<hidden:w', / a: gone$/],
    ['a dead one, if another follows one that has never answered', 'a! b<a', / a: gone$/],
    [
      'one of several dead ones',
      'a! b!',
      /no node that answers leads, and a and b cannot be read\. .* a: gone$/,
    ],
    [
      'none, if all follow a server that is not listed',
      'a<9 b<9',
      /no node leads: a and b follow servers that are not in nodes\. Add their leader to nodes$/,
    ],
    ['none, if two of a circle accept writes', 'a<b:w b<a:w', 'no leader'],
    ['none, if two have followers and accept writes', 'a:w b:w c<a d<b', 'no leader'],
    ['the server that others follow, even if it is hidden', 'a<hidden:w b<a c<a', 'b:on c:on'],
    ['the only one that accepts writes, if all are hidden', 'a<hidden:w b<hidden:r', 'b:off'],
    [
      'none, if all accept writes and are hidden',
      'a<hidden:w b<hidden:w',
      new RegExp(`which node leads is unknown\\. a: ${REPLICATION.source}`),
    ],
    ['none, if all only read and are hidden', 'a<hidden:r b!', / b: gone$/],
    [
      'none, if the replication state cannot be read',
      'a<unreadable b<unreadable',
      /which node leads is unknown\. a: its replication state cannot be read: ER_NO_SUCH_TABLE: there is no such table$/,
    ],
  ])('is led by %s', async (_, nodes, expected) => {
    await check(new System(nodes), expected)
  })

  const TWO = `two nodes claim to lead: a and b do not follow each other\\. Make all but one a replica, and set ${system.readOnly} on it`
  it.each<
    [title: string, ...[nodes: string, expected: string | RegExp, problem?: RegExp | null][]]
  >([
    [
      'remembers who a node was that has died',
      ['a b<a c<b d<a', 'b:on c:on d:on'],
      ['d!', 'b:on c:on d:off'],
      // The second of the chain does not become the leader, although the third follows it.
      ['a!', /leader a: gone$/],
      ['b<?', /gone$/],
    ],
    [
      'keeps its leader when a follower dies, although nothing else shows which node leads',
      ['a:r b<a:r', 'b:on'],
      ['b!', 'b:off'],
    ],
    [
      'keeps its leader when a follower dies and the privilege is missing',
      ['a<hidden:w b<hidden:r', 'b:off'],
      ['b!', 'b:off'],
    ],
    [
      'follows a failover, and reports the old leader when it is back',
      ['a b<a c<a', 'b:on c:on'],
      ['a!', /leader a: gone$/],
      ['b:w', 'a:off c:on'],
      ['c<b', 'a:off c:on'],
      ['a<b', 'a:on c:on'],
      ['a<b+1', 'a:diverged c:on'],
    ],
    [
      'has a problem if another node accepts writes and follows none',
      ['a:w b<a c<a', 'b:on c:on', null],
      ['b:w', 'b:off c:on', new RegExp(`^${TWO}$`)],
      ['c:w', 'no leader', /^3 nodes claim to lead: a, b and c/],
    ],
    [
      'forgets whom a node followed that was pointed at another server',
      ['a:w b<a c<b', 'b:on c:on', null],
      ['b<new', 'a:off c:on', /^two nodes claim to lead: b and a/],
    ],
    [
      'is led by no follower that was only stopped, although the leader is dead, until others follow it or it writes',
      ['a:w b<a:w c<a', 'b:on c:on'],
      ['b<-a:w', 'b:off c:on'],
      ['a!', /leader a: gone$/],
      ['c<b', 'a:off c:on'],
      ['c<a', /leader a: gone$/],
      ['b<-a:w+1', 'a:off c:on'],
    ],
    [
      'has no rival in a node that may follow another one',
      ['a:w b<a c<hidden:w', 'b:on c:off', /^the replication state of c cannot be seen/],
    ],
    [
      'has a problem if nodes that follow each other accept writes',
      ['a<b:w b<a:w', 'no leader', /^a and b follow each other and accept writes: set \w+ on all/],
    ],
    [
      'names nodes that reach the same server',
      ['a b<a c<a vip=1', 'b:on c:on', /^a and vip reach the same server: give each node its own/],
      // The one that the second name stands for is not known.
      ['vip=3<a', 'b:on c:diverged vip:diverged', /^c and vip reach the same server/],
      ['vip!', 'b:on c:on vip:off', null],
    ],
    [
      'does not take a server for another one with the same id and another address',
      ['a b<a c<a d=3@db-4<a', 'b:on c:diverged d:diverged', null],
    ],
    [
      'has a problem if the replication state of its leader cannot be read',
      ['a<unreadable:w b<a', 'b:on', /^leader a: its replication state cannot be read: ER_NO_SUCH/],
    ],
  ])('%s', async (_, ...steps) => {
    const nodes = new System(steps[0]?.[0] ?? '')
    for (const [change, expected, problem] of steps) {
      nodes.change(change)
      await check(nodes, expected, problem)
    }
  })

  it.runIf(system.title === 'MariaDB')(
    'knows which server a node follows that has forgotten it at a restart',
    async () => {
      const chain = new System('a:w b<a c<b')
      await check(chain, 'b:on c:on', null)
      chain.change('b<?')
      await check(chain, 'b:off c:on', null)
    },
  )

  it('is led by a server that has written since it was stopped, also where it is not known what others commit', async () => {
    const states = new System('a:r b<-a:w+2 c<b:r')
    const first = states.clients.get('a') as FakeClient
    first.states.splice(0, 1, { ...(first.states[0] as Row), gtid_owned: undefined })
    await check(states, 'a:off c:on')
  })

  it.each<[galera: unknown, problem: RegExp]>([
    [[{ Value: '2' }], /^a and b are nodes of a Galera cluster, which has no leader/],
    [[{ Value: '0' }], new RegExp(`^${TWO}`)],
    [new Error('no'), new RegExp(`^${TWO}`)],
  ])('says whether rivals are nodes of a Galera cluster: %#', async (galera, problem) => {
    const cluster = new System('a b')
    const first = cluster.clients.get('a') as FakeClient
    first.galera = galera
    await check(cluster, 'no leader', problem)
  })

  it('names a node that cannot be read, even if it is not clear which one leads', async () => {
    const { followers } = onlyShard(await read(new System('a:w b:w c!').source))
    expect(followers['c']?.problem).toMatch(/^cannot be read: \w+ c: gone$/)
  })

  it('marks a leader that follows another server itself', async () => {
    expect(onlyShard(await read(new System('a<9 b<a').source)).cascading).toBe(true)
    expect(onlyShard(await read(new System('a b<a').source))).not.toHaveProperty('cascading')
  })
})
