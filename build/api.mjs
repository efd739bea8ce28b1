// Writes docs/api.md from the declarations in dist: npm run api
import { writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import ts from 'typescript'
import { readManifest } from './entry-points.mjs'

const HEADER = `# API

Everything that can be imported. \`npm run api\` writes this page from the declarations.

<!-- prettier-ignore-start -->
`

/**
 * Describes what each entry point of a built package exports.
 *
 * @param {string} folder of the package
 */
export function describeApi(folder) {
  const manifest = readManifest(folder)
  const entryPoints = manifest.entryPoints.map(({ path, require }) => ({
    specifier: join(manifest.name, path),
    file: resolve(folder, require.replace(/\.js$/, '.d.ts')),
  }))
  const program = ts.createProgram(
    entryPoints.map(({ file }) => file),
    { module: ts.ModuleKind.Node16, moduleResolution: ts.ModuleResolutionKind.Node16, types: [] },
  )
  const checker = program.getTypeChecker()
  const described = entryPoints.map(({ specifier, file }) => {
    const source = program.getSourceFile(file)
    const module = source && checker.getSymbolAtLocation(source)
    if (!module) throw new Error(`${file} exports nothing`)
    const exported = checker.getExportsOfModule(module).map((symbol) => {
      const isAlias = symbol.flags & ts.SymbolFlags.Alias
      return isAlias ? checker.getAliasedSymbol(symbol) : symbol
    })
    return { specifier, exported }
  })
  const known = new Set(described.flatMap(({ exported }) => exported))
  const parts = described.map(({ specifier, exported }) => {
    const rows = exported.map((symbol) => describeExport(symbol, checker, known))
    return `\n## \`${specifier}\`\n\n| export | members |\n| --- | --- |\n${rows.join('')}`
  })
  return `${HEADER}${parts.join('')}\n<!-- prettier-ignore-end -->\n`
}

/** @param {ts.Symbol} symbol @param {ts.TypeChecker} checker @param {ReadonlySet<ts.Symbol>} known all exports */
function describeExport(symbol, checker, known) {
  const [declaration] = symbol.declarations ?? []
  if (!declaration) throw new Error(`${symbol.name} has no declaration`)
  const own = ts.isTypeAliasDeclaration(declaration) ? [] : (symbol.members?.values() ?? [])
  const members = [...own, ...inheritedFrom(declaration, checker, known)]
  const lines = members
    .flatMap(({ declarations = [] }) => declarations)
    .filter((member) => !(ts.getCombinedModifierFlags(member) & ts.ModifierFlags.Private))
    .map((member) => `${code(textOf(member))} ${descriptionOf(member)}`.trim())
  const isType = ts.isClassDeclaration(declaration) || ts.isInterfaceDeclaration(declaration)
  const title = isType ? headOf(declaration) : textOf(declaration)
  return `| ${code(title)}<br>${descriptionOf(declaration)} | ${lines.join('<br>')} |\n`
}

/**
 * The members of types that are not exported, and that an exported one extends or names.
 *
 * @param {ts.Declaration} declaration
 * @param {ts.TypeChecker} checker
 * @param {ReadonlySet<ts.Symbol>} known
 */
function inheritedFrom(declaration, checker, known) {
  const bases = ts.isInterfaceDeclaration(declaration)
    ? (declaration.heritageClauses?.flatMap(({ types }) => types) ?? [])
    : ts.isTypeAliasDeclaration(declaration) && ts.isTypeReferenceNode(declaration.type)
      ? [declaration.type]
      : []
  return bases.flatMap((base) => {
    const type = checker.getTypeAtLocation(base)
    return known.has(type.symbol) ? [] : type.getProperties()
  })
}

/** @param {ts.ClassDeclaration | ts.InterfaceDeclaration} declaration */
function headOf(declaration) {
  const [head = ''] = textOf(declaration).split(' {')
  return head
}

/** The text of a declaration, without what readers do not need. @param {ts.Declaration} node */
function textOf(node) {
  const text = ts.isVariableDeclaration(node) ? `const ${node.getText()}` : node.getText()
  return text
    .replace(/^(?:(?:export|declare|readonly) )+/, '')
    .replace(/^(\w+\?: .*) \| undefined;$/s, '$1')
    .replaceAll(/\/\*\*[^]*?\*\//g, '')
    .replaceAll(/\s+/g, ' ')
    .replace(/;$/, '')
}

/** The first sentence of a comment, and the default. @param {ts.Node} declaration */
function descriptionOf(declaration) {
  const node = ts.isVariableDeclaration(declaration) ? declaration.parent.parent : declaration
  const comments = ts.getJSDocCommentsAndTags(node).filter(ts.isJSDoc)
  const text = plain(comments.at(-1)?.comment)
  const [sentence = ''] = /^.*?\.(?= |$)/.exec(text) ?? [text]
  const value = ts.getJSDocTags(node).find(({ tagName }) => tagName.text === 'default')
  return value ? `${sentence} Default: ${plain(value.comment)}.` : sentence
}

/** @param {string | ts.NodeArray<ts.JSDocComment> | undefined} comment */
function plain(comment) {
  return (ts.getTextOfJSDocComment(comment) ?? '')
    .replaceAll(/\{@link (\S+)\}/g, '`$1`')
    .replaceAll(/\s+/g, ' ')
    .replaceAll('|', '\\|')
}

/** @param {string} text */
function code(text) {
  return `\`${text.replaceAll('|', '\\|')}\``
}

if (import.meta.filename === process.argv[1]) writeFileSync('docs/api.md', describeApi('.'))
