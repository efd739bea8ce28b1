import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { StableNames } from '../../src/sources/stable-names.js'

const bearer = (key: string, name: string, address: string) => ({ key, name, address })

describe('StableNames', () => {
  it('gives everybody the name it has', () => {
    const names = new StableNames()
    expect(names.assign([bearer('1', 'a', 'x'), bearer('2', 'b', 'x')])).toEqual(['a', 'b'])
  })

  it('adds the address to a second of one name, and a number to a third from one address', () => {
    const names = new StableNames()
    expect(
      names.assign([
        bearer('1', 'a', 'x'),
        bearer('2', 'a', 'y'),
        bearer('3', 'a', 'y'),
        bearer('4', 'a', 'y'),
      ]),
    ).toEqual(['a', 'a@y', 'a@y#2', 'a@y#3'])
  })

  it('renames nobody while it lasts', () => {
    const names = new StableNames()
    names.assign([bearer('1', 'a', 'x'), bearer('2', 'a', 'y')])
    expect(names.assign([bearer('2', 'a', 'y')])).toEqual(['a@y'])
    expect(names.assign([bearer('3', 'a', 'z'), bearer('2', 'a', 'y')])).toEqual(['a', 'a@y'])
  })

  it('gives those that come back in another order the names they had', () => {
    const names = new StableNames()
    names.assign([bearer('1', 'a', 'x'), bearer('2', 'a', 'y')])
    names.assign([])
    expect(names.assign([bearer('3', 'a', 'y')])).toEqual(['a@y'])
    expect(names.assign([bearer('3', 'a', 'y'), bearer('4', 'a', 'x')])).toEqual(['a@y', 'a'])
  })

  it('gives the plain name to a single one that moves from address to address', () => {
    const names = new StableNames()
    for (let move = 0; move < 3; move++) {
      expect(names.assign([bearer(`${move}`, 'a', `10.0.0.${move}`)])).toEqual(['a'])
    }
  })

  it('forgets those that were not seen for longest, so that its memory is bounded', () => {
    const names = new StableNames()
    names.assign([bearer('1', 'a', 'x'), bearer('2', 'a', 'y')])
    for (let other = 0; other < 1000; other++) names.assign([bearer('o', 'o', `${other}`)])
    expect(names.assign([bearer('3', 'a', 'y')])).toEqual(['a'])
  })

  it('never gives one name twice at a time', () => {
    const bearers = fc.uniqueArray(
      fc.record({
        key: fc.nat(20).map(String),
        name: fc.constantFrom('a', 'b', 'a@x', 'a@x#2'),
        address: fc.constantFrom('x', 'y'),
      }),
      { selector: ({ key }) => key },
    )
    fc.assert(
      fc.property(fc.array(bearers, { maxLength: 10 }), (readings) => {
        const names = new StableNames()
        for (const reading of readings) {
          expect(new Set(names.assign(reading)).size).toBe(reading.length)
        }
      }),
    )
  })
})
