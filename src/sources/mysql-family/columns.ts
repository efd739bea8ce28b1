/** Parses a column, or throws an error that names it. */
type Column<T> = (value: unknown, name: string) => T

/** Parses the columns of a row one by one. One that is invalid is left out, and named in `problems`. */
export function parseColumns<Columns extends Record<string, Column<unknown>>>(
  columns: Columns,
  row: unknown,
  problems: string[],
): { readonly [Name in keyof Columns]: ReturnType<Columns[Name]> | undefined } {
  const values = (row ?? {}) as Record<string, unknown>
  const entries = Object.entries(columns).map(([name, parse]) => {
    try {
      return [name, parse(values[name], name)]
    } catch (error) {
      problems.push((error as Error).message)
      return [name, undefined]
    }
  })
  return Object.fromEntries(entries) as {
    [Name in keyof Columns]: ReturnType<Columns[Name]> | undefined
  }
}

/** A string, which may be empty. */
export function string(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}

/** A variable that is on or off. MariaDB 12 has further values of `read_only`. */
export function flag(value: unknown): boolean | undefined {
  if (value === '1' || value === 'ON' || value === 'NO_LOCK' || value === 'NO_LOCK_NO_ADMIN') {
    return true
  }
  return value === '0' || value === 'OFF' ? false : undefined
}
