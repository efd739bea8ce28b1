import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { repository } from '../support/repository.js'
import { typeCheck } from '../support/type-check.js'

const here = import.meta.dirname
const programs = readdirSync(here)
  .filter((file) => !file.endsWith('.test.ts'))
  .map((file) => join(here, file))

// `npm run check` does the same with SDK 2.
test('with the types of SDK 3, valid use compiles and misuse does not', () => {
  const openTelemetryFrom = join(repository, 'test/sdk/v3')
  const { errors, files } = typeCheck(programs, { openTelemetryFrom })
  expect(errors).toEqual([])

  const packages = files.filter((file) => file.includes('/@opentelemetry/'))
  expect(packages).not.toEqual([])
  const sdk3 = join(openTelemetryFrom, 'node_modules')
  expect(packages.filter((file) => !file.startsWith(sdk3))).toEqual([])
})
