/** Values that are not seqnos, each with a name for the test's title. */
export const BAD_SEQNOS: [string, unknown][] = [
  ['NaN', Number.NaN],
  ['Infinity', Infinity],
  ['-1', -1],
  ['-1n', -1n],
  ['1.5', 1.5],
  ['2^53', 2 ** 53],
  ['2^64', 2n ** 64n],
  ['a bigint of a million bits', 1n << 1_000_000n],
  ['a numeric string', '7'],
  ['an empty string', ''],
  ['null', null],
  ['undefined', undefined],
  ['true', true],
  ['an object', {}],
  ['an object that throws when it is read', hostile()],
  ['a revoked proxy', revoked()],
  ['a symbol', Symbol('seqno')],
  ['a function', () => 7],
]

/** Values that are not names of shards or replicas. As a replica, `undefined` means the unnamed one, so it is not here. */
export const BAD_NAMES: [string, unknown][] = [
  ['an empty string', ''],
  ['a string of 10 MB', 'x'.repeat(10 * 1024 * 1024)],
  ['a lone surrogate', 'a\uD800b'],
  ['a trailing lone surrogate', 'a\uDC00'],
  ['NaN', Number.NaN],
  ['Infinity', Infinity],
  ['-1', -1],
  ['1.5', 1.5],
  ['2^53', 2 ** 53],
  ['a bigint', 7n],
  ['null', null],
  ['false', false],
  ['an object', {}],
  ['an object that throws when it is read', hostile()],
  ['an array', ['a']],
  ['a revoked proxy', revoked()],
  ['a symbol', Symbol('name')],
]

/** Unusual names that are valid. */
export const ODD_NAMES: [string, string][] = [
  ['quotes', 'say "hi"'],
  ['a newline', 'two\nlines'],
  ['a carriage return', 'two\r\nlines'],
  ['a backslash', 'C:\\wal\\n'],
  ['braces and commas', '{a="b",c="d"} 1'],
  ['an emoji', '🐘 elephant'],
  ['a space', ' '],
  ['NUL', 'a\0b'],
  ['__proto__', '__proto__'],
  ['the longest allowed', 'x'.repeat(1024)],
]

/** An object of which every property throws. */
export function hostile(): object {
  return new Proxy(
    {},
    {
      get() {
        throw new Error('cannot be read')
      },
    },
  )
}

/** A proxy that was revoked. */
export function revoked(): object {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  return proxy
}
