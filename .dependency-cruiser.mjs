// The imports that are allowed in src. Data passes sources → polling → lag-map → otel; imports point to what is written to.
import { readFileSync } from 'node:fs'

/** What the files of each folder may import, besides each other and the OpenTelemetry API. */
const folders = {
  support: [],
  'lag-map': ['support/'],
  sources: ['lag-map/seqno.ts', 'support/'],
  polling: ['lag-map/', 'sources/source.ts', 'support/'],
  otel: ['lag-map/', 'polling/', 'support/'],
}

const api = 'node_modules/@opentelemetry/api/'

/** @type {unknown} */
const json = JSON.parse(readFileSync('package.json', 'utf8'))
const { exports } = /** @type {{ exports: Record<string, { require?: string }> }} */ (json)
const entryPoints = Object.values(exports).flatMap(
  ({ require: file }) => file?.replace(/^.*dist[/](.*)[.]js$/, '^src/$1.ts$') ?? [],
)

/** @type {import('dependency-cruiser').IConfiguration} */
export default {
  allowed: [
    { from: { path: '^src/index.ts$' }, to: { path: '^src/' } },
    ...Object.entries(folders).map(([folder, imports]) => ({
      from: { path: `^src/${folder}/` },
      to: { path: [api, ...[`${folder}/`, ...imports].map((path) => `^src/${path}`)] },
    })),
  ],
  allowedSeverity: 'error',
  forbidden: [
    { name: 'no-cycle', severity: 'error', from: {}, to: { circular: true } },
    {
      name: 'no-unused-file',
      severity: 'error',
      from: { path: entryPoints },
      to: { path: '^src/', pathNot: entryPoints, reachable: false },
    },
  ],
  options: {
    exclude: '^src/facades.mjs$',
    doNotFollow: 'node_modules',
    // Imports of types count too.
    tsPreCompilationDeps: true,
  },
}
