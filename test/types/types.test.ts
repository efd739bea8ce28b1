import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { typeCheck } from '../support/type-check.js'

const here = import.meta.dirname
const programs = readdirSync(here)
  .filter((file) => !file.endsWith('.test.ts'))
  .map((file) => join(here, file))

describe.each([
  { line: 'SDK 2', tree: '../..' },
  { line: 'SDK 3', tree: '../sdk/v3' },
])('with the types of $line', ({ tree }) => {
  test('every use that is meant compiles, and no other', () => {
    const openTelemetryFrom = fileURLToPath(new URL(tree, import.meta.url))
    const { errors, files } = typeCheck(programs, { openTelemetryFrom })
    expect(errors).toEqual([])

    const packages = files.filter((file) => file.includes('/@opentelemetry/'))
    expect(packages).not.toEqual([])
    const ofOtherLines = packages.filter(
      (file) => !file.startsWith(join(openTelemetryFrom, 'node_modules')),
    )
    expect(ofOtherLines).toEqual([])
  })
})
