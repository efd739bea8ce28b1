// Part of the build: writes the version in package.json where the instrumentation scope gets it.
import { readFileSync, writeFileSync } from 'node:fs'

/** @type {unknown} */
const json = JSON.parse(readFileSync('package.json', 'utf8'))
const { version } = /** @type {{ version: string }} */ (json)
const text = `// Written by build/version.mjs.\nexport const VERSION = '${version}'\n`
writeFileSync('src/otel/version.ts', text)
