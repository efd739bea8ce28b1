import { createRequire } from 'node:module'
import { join } from 'node:path'

/**
 * Finds a package of the application: a client of a database, or a part of the OpenTelemetry SDK.
 *
 * @returns a function that loads it.
 * @throws Error that says how to install it.
 */
export function findPackage(name: string): () => unknown {
  const { require, path } = find(name)
  return () => require(path) as unknown
}

/** Loads a package that another package depends on, and so comes with it. */
export function loadDependency(of: string, name: string): unknown {
  return createRequire(find(of).path)(name)
}

function find(name: string): { readonly require: NodeJS.Require; readonly path: string } {
  // First where `--import` looks: a package manager may hide the packages of the application from this one. A command that
  // is installed globally finds them next to itself.
  for (const from of [join(process.cwd(), 'package.json'), __filename]) {
    const require = createRequire(from)
    try {
      return { require, path: require.resolve(name) }
    } catch {
      // It is not there.
    }
  }
  const [missing = ''] = /^(?:@[^/]+\/)?[^/]+/.exec(name) ?? []
  throw new Error(`the package ${missing} is missing. Install it: npm install ${missing}`)
}
