import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { StableNames } from '../../../src/sources/postgres/stable-names.js'

/** A connection that reports something at each reading, unless its activity is given. */
let reports = 0
const connection = (id: string, name: string, address: string, activity = `${reports++}`) => ({
  id,
  name,
  address,
  activity,
})

/** Returns a function that gives the names at a reading, in the order of the connections. */
function createNames() {
  const names = new StableNames()
  return (
    connections: readonly ReturnType<typeof connection>[],
    reserved: readonly string[] = [],
  ) => {
    const given = names.assign(connections, reserved)
    return connections.map(({ id }) => given.get(id))
  }
}

describe('StableNames', () => {
  it('gives each connection its own name', () => {
    const assign = createNames()
    expect(assign([connection('1', 'a', 'x'), connection('2', 'b', 'x')])).toEqual(['a', 'b'])
  })

  it('adds the address to a second of one name, and a number to a third from one address', () => {
    const assign = createNames()
    const sameName = ['x', 'y', 'y', 'y'].map((address, id) => connection(`${id}`, 'a', address))
    expect(assign(sameName)).toEqual(['a', 'a@y', 'a@y#2', 'a@y#3'])
  })

  it('gives no reserved name', () => {
    const assign = createNames()
    expect(assign([connection('1', 'a', 'x')], ['a', 'a@x'])).toEqual(['a@x#2'])
    expect(assign([connection('1', 'a', 'x')], ['a@x#2'])).toEqual(['a'])
  })

  it('renames no connection while it lasts', () => {
    const assign = createNames()
    assign([connection('1', 'a', 'x'), connection('2', 'a', 'y')])
    expect(assign([connection('2', 'a', 'y')])).toEqual(['a@y'])
    expect(assign([connection('3', 'a', 'z'), connection('2', 'a', 'y')])).toEqual(['a', 'a@y'])
  })

  it('gives connections that come back in another order the names they had', () => {
    const assign = createNames()
    assign([connection('1', 'a', 'x'), connection('2', 'a', 'y')])
    assign([])
    expect(assign([connection('3', 'a', 'y')])).toEqual(['a@y'])
    expect(assign([connection('3', 'a', 'y'), connection('4', 'a', 'x')])).toEqual(['a@y', 'a'])
  })

  it('gives the plain name to a single one that moves from address to address', () => {
    const assign = createNames()
    for (let move = 0; move < 3; move++) {
      expect(assign([connection(`${move}`, 'a', `10.0.0.${move}`)])).toEqual(['a'])
    }
  })

  it('forgets past names, so that its memory is bounded', () => {
    const assign = createNames()
    assign([connection('1', 'a', 'x'), connection('2', 'a', 'y')])
    for (let other = 0; other < 1000; other++) assign([connection('o', 'o', `${other}`)])
    expect(assign([connection('3', 'a', 'y')])).toEqual(['a'])
  })

  it('never gives one name twice at a time', () => {
    const connections = fc.uniqueArray(
      fc.record({
        id: fc.nat(20).map(String),
        name: fc.constantFrom('a', 'b', 'a@x', 'a@x#2'),
        address: fc.constantFrom('x', 'y'),
        activity: fc.constantFrom('1', '2'),
      }),
      { selector: ({ id }) => id },
    )
    const reserved = fc.uniqueArray(fc.constantFrom('a', 'b', 'a@y', 'a@x#2'))
    fc.assert(
      fc.property(fc.array(fc.tuple(connections, reserved), { maxLength: 10 }), (readings) => {
        const names = new StableNames()
        for (const [current, taken] of readings) {
          const given = [...names.assign(current, taken).values(), ...taken]
          expect(new Set(given).size).toBe(given.length)
        }
      }),
    )
  })
})

describe('a follower that reconnects while its old connection is still there', () => {
  const old = connection('1', 'a', 'x', 'silent')

  it('keeps its name, and the old connection has none', () => {
    const assign = createNames()
    assign([old])
    for (let reading = 0; reading < 3; reading++) {
      expect(assign([old, connection('2', 'a', 'x')])).toEqual([undefined, 'a'])
    }
    expect(assign([connection('2', 'a', 'x')])).toEqual(['a'])
  })

  it('keeps its name when it reconnects again and again', () => {
    const assign = createNames()
    const second = connection('2', 'a', 'x', 'silent')
    assign([old])
    assign([old, second])
    expect(assign([old, second, connection('3', 'a', 'x')])).toEqual([undefined, undefined, 'a'])
    expect(assign([old, connection('3', 'a', 'x')])).toEqual([undefined, 'a'])
    expect(assign([connection('3', 'a', 'x')])).toEqual(['a'])
  })

  it('keeps its name when its new connection ends too', () => {
    const assign = createNames()
    assign([old])
    assign([old, connection('2', 'a', 'x')])
    expect(assign([old])).toEqual(['a'])
  })

  it('is another follower if the old connection reports anything', () => {
    const assign = createNames()
    assign([old])
    assign([old, connection('2', 'a', 'x')])
    for (let reading = 0; reading < 3; reading++) {
      expect(assign([connection('1', 'a', 'x'), connection('2', 'a', 'x')])).toEqual(['a', 'a@x'])
    }
  })

  it('is known again if two have its name', () => {
    const assign = createNames()
    const second = connection('2', 'a', 'x', 'silent')
    expect(assign([old, second])).toEqual(['a', 'a@x'])
    expect(assign([second])).toEqual(['a@x'])
    expect(assign([second, connection('3', 'a', 'x')])).toEqual(['a@x', 'a'])
  })

  it('is not looked for at another address', () => {
    const assign = createNames()
    assign([old])
    expect(assign([old, connection('2', 'a', 'y')])).toEqual(['a', 'a@y'])
  })
})
