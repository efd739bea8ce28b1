import { parseSeqno } from '../../lag-map/seqno.js'
import { formatValue } from '../../support/log.js'
import { parseName } from '../../support/names.js'

/** Returns the parsed value of a field, or `undefined` if it is invalid. */
type Parser<T> = (value: unknown) => T | undefined

/** Parses one field. It throws an error that names the field if the value is invalid or missing. */
type Field<T> = (value: unknown, name: string) => T

/** Parses an object by its fields. Others are ignored. */
export function parseFields<Fields extends Record<string, Field<unknown>>>(
  fields: Fields,
  row: unknown,
): { readonly [Name in keyof Fields]: ReturnType<Fields[Name]> } {
  const values = (row ?? {}) as Record<string, unknown>
  const entries = Object.entries(fields).map(([name, parse]) => [name, parse(values[name], name)])
  return Object.fromEntries(entries) as { [Name in keyof Fields]: ReturnType<Fields[Name]> }
}

export function fieldError(name: string, value: unknown): Error {
  const fault = value === undefined ? 'is missing' : `has an invalid value: ${formatValue(value)}`
  return new Error(`field ${name} ${fault}`)
}

/** A field that has a value. */
export function required<T>(parse: Parser<T>): Field<T> {
  return (value, name) => {
    const parsed = parse(value)
    if (parsed === undefined) throw fieldError(name, value)
    return parsed
  }
}

/** A field that can be NULL. */
export function nullable<T>(parse: Parser<T>): Field<T | undefined> {
  return (value, name) => (value === null ? undefined : required(parse)(value, name))
}

/** A field that can be NULL or missing. */
export function optional<T>(parse: Parser<T>): Field<T | undefined> {
  return (value, name) => nullable(parse)(value ?? null, name)
}

/** A non-empty string that can be used as a name. */
export function text(value: unknown): string | undefined {
  return typeof value === 'string' ? parseName(value) : undefined
}

export function boolean(value: unknown): boolean | undefined {
  if (value === true || value === 'true') return true
  return value === false || value === 'false' ? false : undefined
}

/** An unsigned 64-bit integer, as decimal digits or as a number. */
export function integer(value: unknown): bigint | undefined {
  if (typeof value !== 'string') return parseSeqno(value)
  return /^\d{1,20}$/.test(value) ? parseSeqno(BigInt(value)) : undefined
}
