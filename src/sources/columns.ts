import { parseSeqno } from '../lag-map/seqno.js'
import { formatValue } from '../support/log.js'
import { parseName } from '../support/names.js'

/** Returns the parsed value of a column, or `undefined` if it is invalid. */
type Parser<T> = (value: unknown) => T | undefined

/** Parses one column of a row. It throws an error that names the column if the value is invalid or missing. */
type Column<T> = (value: unknown, name: string) => T

/** Parses a row by its columns. Other columns are ignored. */
export function parseColumns<Columns extends Record<string, Column<unknown>>>(
  columns: Columns,
  row: unknown,
): { readonly [Name in keyof Columns]: ReturnType<Columns[Name]> } {
  const values = (row ?? {}) as Record<string, unknown>
  const entries = Object.entries(columns).map(([name, parse]) => [name, parse(values[name], name)])
  return Object.fromEntries(entries) as { [Name in keyof Columns]: ReturnType<Columns[Name]> }
}

export function columnError(name: string, value: unknown): Error {
  const fault = value === undefined ? 'is missing' : `has an invalid value: ${formatValue(value)}`
  return new Error(`column ${name} ${fault}`)
}

/** A column that has a value. */
export function required<T>(parse: Parser<T>): Column<T> {
  return (value, name) => {
    const parsed = parse(value)
    if (parsed === undefined) throw columnError(name, value)
    return parsed
  }
}

/** A column that can be NULL. */
export function nullable<T>(parse: Parser<T>): Column<T | undefined> {
  return (value, name) => (value === null ? undefined : required(parse)(value, name))
}

/** A column that can be NULL or missing. */
export function optional<T>(parse: Parser<T>): Column<T | undefined> {
  return (value, name) => nullable(parse)(value ?? null, name)
}

/** A non-empty text that can be used as a name. */
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
