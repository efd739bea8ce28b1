import { dirname, join, relative } from 'node:path'
import ts from 'typescript'
import { repository } from './repository.js'

export interface TypeCheckOptions {
  /** The content of files that need not exist, by path. */
  readonly contents?: ReadonlyMap<string, string>
  /** The folder to resolve `@opentelemetry/…` from, for every file, also those of the package. */
  readonly openTelemetryFrom?: string
  /** Changes to the options of the repository's tsconfig.json. */
  readonly compilerOptions?: ts.CompilerOptions
}

export interface TypeCheck {
  /** One line each, as `file:line: message`. */
  readonly errors: readonly string[]
  /** Every file that was read, including the types of dependencies. */
  readonly files: readonly string[]
}

/** Files of dependencies, which are parsed once for all checks. */
const parsed = new Map<string, ts.SourceFile>()

/** Checks files and their imports as `npm run check` does. */
export function typeCheck(paths: readonly string[], settings: TypeCheckOptions = {}): TypeCheck {
  const { contents = new Map<string, string>(), openTelemetryFrom, compilerOptions } = settings
  const options = { ...readCompilerOptions(), ...compilerOptions }
  const host = ts.createCompilerHost(options)
  host.fileExists = (path) => contents.has(path) || ts.sys.fileExists(path)
  host.readFile = (path) => contents.get(path) ?? ts.sys.readFile(path)
  const parse = host.getSourceFile.bind(host)
  host.getSourceFile = (path, ...how) => {
    if (!path.includes('/node_modules/')) return parse(path, ...how)
    const file = parsed.get(path) ?? parse(path, ...how)
    if (file) parsed.set(path, file)
    return file
  }
  if (openTelemetryFrom !== undefined) resolveFrom(host, join(openTelemetryFrom, 'index.ts'))

  const program = ts.createProgram(paths, options, host)
  const files = program.getSourceFiles().map(({ fileName }) => fileName)
  return { errors: ts.getPreEmitDiagnostics(program).map(toLine), files }
}

/** Does the same as `paths` in a tsconfig.json, which ignores the `exports` of a package. */
function resolveFrom(host: ts.CompilerHost, openTelemetryFrom: string): void {
  host.resolveModuleNameLiterals = (literals, containingFile, redirected, options, sourceFile) =>
    literals.map((literal) => {
      const isOpenTelemetry = literal.text.startsWith('@opentelemetry/')
      // Packages of OpenTelemetry resolve each other as usual.
      const isDependency = containingFile.includes('/node_modules/')
      return ts.resolveModuleName(
        literal.text,
        isOpenTelemetry && !isDependency ? openTelemetryFrom : containingFile,
        options,
        host,
        undefined,
        redirected,
        ts.getModeForUsageLocation(sourceFile, literal, options),
      )
    })
}

function readCompilerOptions(): ts.CompilerOptions {
  const path = join(repository, 'tsconfig.json')
  const { config } = ts.readConfigFile(path, (file) => ts.sys.readFile(file)) as { config: object }
  // The caller names the files.
  const alone = { ...config, include: [], files: [] }
  return ts.parseJsonConfigFileContent(alone, ts.sys, dirname(path), undefined, path).options
}

function toLine({ file, start = 0, messageText }: ts.Diagnostic): string {
  const message = ts.flattenDiagnosticMessageText(messageText, '\n')
  if (!file) return message
  const { line } = file.getLineAndCharacterOfPosition(start)
  return `${relative(repository, file.fileName)}:${line + 1}: ${message}`
}
