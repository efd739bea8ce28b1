import fc from 'fast-check'
import { expect, it } from 'vitest'
import { StableNames } from '../../../src/sources/postgres/stable-names.js'

let reports = 0

/** A connection, as `1:a@x` for number 1 of `a` at address `x`. It reports something at each reading, without a `!` at the end. */
function connection(text: string) {
  const [, id = '', name = '', address = '', silent] = /^(\d+):(.+)@(.+?)(!)?$/.exec(text) ?? []
  return { id, name, address, activity: silent ?? `${reports++}` }
}

/** Splits at spaces. Nothing has no parts. */
const split = (text: string) => text.split(' ').filter((part) => part !== '')

it.each<[title: string, ...[connections: string, names: string, reserved?: string][]]>([
  ['gives each connection its own name', ['1:a@x 2:b@x', 'a b']],
  [
    'adds the address to a second of one name, and a number to a third from one address',
    ['1:a@x 2:a@y 3:a@y 4:a@y', 'a a@y a@y#2 a@y#3'],
  ],
  ['gives no reserved name', ['1:a@x', 'a@x#2', 'a a@x'], ['1:a@x', 'a', 'a@x#2']],
  [
    'renames no connection while it lasts',
    ['1:a@x 2:a@y', 'a a@y'],
    ['2:a@y', 'a@y'],
    ['3:a@z 2:a@y', 'a a@y'],
  ],
  [
    'gives connections that come back in another order the names they had',
    ['1:a@x 2:a@y', 'a a@y'],
    ['', ''],
    ['3:a@y', 'a@y'],
    ['3:a@y 4:a@x', 'a@y a'],
  ],
  [
    'gives the plain name to a single one that moves from address to address',
    ['1:a@x', 'a'],
    ['2:a@y', 'a'],
    ['3:a@z', 'a'],
  ],
  [
    'keeps the name of one that reconnects while its old connection is still there',
    ['1:a@x!', 'a'],
    ['1:a@x! 2:a@x', '- a'],
    ['1:a@x! 2:a@x', '- a'],
    ['2:a@x', 'a'],
  ],
  [
    'keeps the name of one that reconnects again and again',
    ['1:a@x!', 'a'],
    ['1:a@x! 2:a@x!', '- a'],
    ['1:a@x! 2:a@x! 3:a@x', '- - a'],
    ['1:a@x! 3:a@x', '- a'],
    ['3:a@x', 'a'],
  ],
  [
    'keeps the name of one whose new connection ends too',
    ['1:a@x!', 'a'],
    ['1:a@x! 2:a@x', '- a'],
    ['1:a@x!', 'a'],
  ],
  [
    'takes an old connection that reports anything for another follower',
    ['1:a@x!', 'a'],
    ['1:a@x! 2:a@x', '- a'],
    ['1:a@x 2:a@x', 'a a@x'],
    ['1:a@x 2:a@x', 'a a@x'],
  ],
  [
    'knows one of two of its name again',
    ['1:a@x! 2:a@x!', 'a a@x'],
    ['2:a@x!', 'a@x'],
    ['2:a@x! 3:a@x', 'a@x a'],
  ],
  ['does not take one at another address for the same', ['1:a@x!', 'a'], ['1:a@x! 2:a@y', 'a a@y']],
])('StableNames %s', (_, ...steps) => {
  const names = new StableNames()
  for (const [connections, expected, reserved = ''] of steps) {
    const given = names.assign(split(connections).map(connection), split(reserved))
    const found = split(connections).map((each) => given.get(connection(each).id) ?? '-')
    expect(found.join(' ')).toBe(expected)
  }
})

it('StableNames forgets past names, so that its memory is bounded', () => {
  const names = new StableNames()
  names.assign(['1:a@x', '2:a@y'].map(connection), [])
  for (let other = 0; other < 1000; other++) names.assign([connection(`1:o@${other}`)], [])
  expect([...names.assign([connection('3:a@y')], []).values()]).toEqual(['a'])
})

it('StableNames never gives one name twice at a time', () => {
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
