import fc from 'fast-check'
import { expect, it } from 'vitest'
import { parseExactJson } from '../../../src/sources/shared/exact-json.js'

it('keeps all digits of integers that a number cannot hold, as strings', () => {
  const text = '{"a": 18446744073709551615, "b": [9007199254740993 , 9007199254740993], "c": 7}'
  expect(parseExactJson(text)).toEqual({
    a: '18446744073709551615',
    b: ['9007199254740993', '9007199254740993'],
    c: 7,
  })
  expect(parseExactJson('{"a": 1234567890123456.5, "b": -1234567890123456, "c": 1.5e300}')).toEqual(
    {
      a: 1234567890123456.5,
      b: -1234567890123456,
      c: 1.5e300,
    },
  )
})

it('changes nothing inside of strings', () => {
  const value = { 'a 9007199254740993,': ['x\\" : 9007199254740993 ]', '9007199254740993'], b: 1 }
  expect(parseExactJson(JSON.stringify(value))).toEqual(value)
  const both = '{"a": "1, 9007199254740993 ]", "b": 9007199254740993}'
  expect(parseExactJson(both)).toEqual({ a: '1, 9007199254740993 ]', b: '9007199254740993' })
})

it('returns undefined for what is not JSON', () => {
  for (const text of ['', 'x', '{"a": 9007199254740993', '<html>9007199254740993,'])
    expect(parseExactJson(text)).toBeUndefined()
})

it('parses any other JSON as JSON.parse does', () => {
  const isLong = (text: string) => /\d{16,}/.test(text)
  fc.assert(
    fc.property(fc.json(), (text) => {
      fc.pre(!isLong(text.replace(/"(?:[^"\\]|\\.)*"/g, '')))
      expect(parseExactJson(text)).toEqual(JSON.parse(text))
    }),
  )
})
