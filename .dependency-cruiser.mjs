// The imports that are allowed in src. Data passes sources → polling → lag-map → otel; imports point to what is written to.
/** What the files of each folder may import, besides each other and the OpenTelemetry API. */
const folders = {
  support: [],
  'lag-map': ['support/'],
  sources: ['lag-map/reading.ts', 'lag-map/seqno.ts', 'support/'],
  polling: ['lag-map/', 'sources/source.ts', 'support/'],
  otel: ['lag-map/', 'polling/', 'sources/source.ts', 'support/'],
}

const api = 'node_modules/@opentelemetry/api/'

/** @type {import('dependency-cruiser').IConfiguration} */
export default {
  allowed: [
    { from: { path: '^src/index.ts$' }, to: { path: '^src/' } },
    ...Object.entries(folders).map(([folder, imports]) => ({
      from: { path: `^src/${folder}/` },
      to: { path: [api, ...[`${folder}/`, ...imports].map((path) => `^src/${path}`)] },
    })),
    {
      from: { path: '^src/environment/' },
      to: { path: ['^src/(environment|sources|support)/', '^src/otel/options.ts$', api] },
    },
    {
      from: { path: '^src/register/' },
      to: { path: ['^src/(environment|otel|register|support)/', api] },
    },
    {
      from: { path: '^src/cli/' },
      to: {
        path: [
          '^src/(cli|environment|lag-map|otel|polling|support)/',
          '^src/sources/source.ts$',
          // Types. The command loads the packages of the application.
          'node_modules/@opentelemetry/',
        ],
      },
    },
    { from: { path: '^src/(cli|environment|register)/' }, to: { dependencyTypes: ['core'] } },
  ],
  allowedSeverity: 'error',
  forbidden: [{ name: 'no-cycle', severity: 'error', from: {}, to: { circular: true } }],
  options: {
    doNotFollow: 'node_modules',
    // Imports of types count too.
    tsPreCompilationDeps: true,
  },
}
