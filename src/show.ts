/** A value as it can be shown in a message: short, on one line, whatever it is. Never throws. */
export function show(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return value.length > 64
        ? `a string of ${value.length} characters that starts with ${JSON.stringify(value.slice(0, 64))}`
        : JSON.stringify(value)
    case 'bigint':
      // The decimal text of a huge bigint takes quadratic time, so only its size is told.
      return BigInt.asIntN(128, value) === value ? `${value}n` : 'a bigint of more than 128 bits'
    case 'number':
    case 'boolean':
    case 'undefined':
      return String(value)
    case 'object':
      return value === null ? 'null' : Array.isArray(value) ? 'an array' : 'an object'
    default:
      return `a ${typeof value}`
  }
}

/** The message of whatever was thrown. Never throws. */
export function errorMessage(error: unknown): string {
  try {
    return error instanceof Error ? error.message || error.name : show(error)
  } catch {
    return 'an error that has no message'
  }
}
