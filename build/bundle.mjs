// Part of the build: writes each entry point in package.json as CommonJS, and the folders of src that they share as chunks.
// Minified, the package is a quarter smaller. Functions keep their names, and have lines of their own, for stack traces.
import { rmSync } from 'node:fs'
import { relative, resolve } from 'node:path'
import { rolldown } from 'rolldown'
import { parseAst } from 'rolldown/parseAst'
import { readManifest } from './entry-points.mjs'

const [target = 'dist'] = process.argv.slice(2)
const root = resolve(import.meta.dirname, '..')

const { entryPoints, bin } = readManifest(root)
const names = [
  ...entryPoints.map(({ require }) => require),
  ...Object.values(bin),
  // The demo draws its table with it.
  './dist/cli/table.js',
]
const input = Object.fromEntries(
  names.map((file) => {
    const name = relative('dist', file).replace(/\.js$/, '')
    return [name, resolve(root, 'src', `${name}.ts`)]
  }),
)

/** The last folder of a module: `kafka`, `lag-map`. A chunk must not run the command. @param {string} module */
function folderOf(module) {
  const folder = relative(resolve(root, 'src'), module).split('/').at(-2) ?? 'index'
  return folder === 'cli' ? null : folder
}

/**
 * Starts a line at each statement at the top, and at each method of a class.
 *
 * @param {string} code
 */
function breakLines(code) {
  const starts = parseAst(code).body.flatMap((node) => {
    const values =
      node.type === 'VariableDeclaration' ? node.declarations.map(({ init }) => init) : [node]
    const methods = values.flatMap((value) =>
      value?.type === 'ClassExpression' || value?.type === 'ClassDeclaration'
        ? value.body.body
        : [],
    )
    return [node, ...methods].map(({ start }) => start)
  })
  return starts.reduceRight((text, start) => `${text.slice(0, start)}\n${text.slice(start)}`, code)
}

rmSync(target, { recursive: true, force: true })
const bundle = await rolldown({
  input,
  platform: 'node',
  external: (id) => !/^[./]/.test(id),
  tsconfig: resolve(root, 'src/tsconfig.json'),
  preserveEntrySignatures: 'allow-extension',
  plugins: [
    {
      name: 'lines',
      generateBundle(_options, files) {
        for (const file of Object.values(files)) {
          if (file.type === 'chunk') file.code = breakLines(file.code)
        }
      },
    },
  ],
})
await bundle.write({
  dir: target,
  format: 'cjs',
  exports: 'named',
  esModule: true,
  entryFileNames: '[name].js',
  chunkFileNames: 'chunks/[name].js',
  codeSplitting: {
    includeDependenciesRecursively: false,
    groups: [{ debugName: 'folders', name: folderOf }],
  },
  comments: false,
  minify: { compress: true, mangle: { keepNames: true }, codegen: { removeWhitespace: true } },
})
await bundle.close()
