import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, fstatSync, openSync } from 'node:fs'
import { access, constants, mkdir, mkdtemp, realpath } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { Janitor } from './postgres/janitor.mjs'
import { childrenOf, send, tail, until } from './postgres/processes.mjs'
import { Gate } from './gate.mjs'

/** The servers that can run here, as Linux names their processes: at most 15 characters each. */
const PROGRAMS =
  'postgres initdb cp redis-server valkey-server mariadbd mariadb-install mysqld ld-linux-x86-64 nats-server etcd ' +
  'etcd-3.6 java prometheus prometheus-3 collector vmalert-tool redis_exporter postgres_export kminion ' +
  'mysqld_exporter'

/** Servers on this machine's loopback interface, in a temporary folder. They end with this process, whatever becomes of it. */
export class Servers {
  #janitor
  /** @type {Set<Server>} */
  #servers = new Set()
  /** @type {Set<Gate>} */
  #gates = new Set()
  /** @type {(() => Promise<unknown>)[]} */
  #closers = []
  #stopping = new AbortController()
  /** @type {Promise<void> | undefined} */
  #stopped

  /** Use {@link Servers.create}. @param {string} folder @param {AbortSignal | undefined} signal */
  constructor(folder, signal) {
    this.folder = folder
    const { signal: stopped } = this.#stopping
    /** Ends what is waited for and being started. */
    this.signal = signal ? AbortSignal.any([signal, stopped]) : stopped
    this.#janitor = new Janitor(folder, PROGRAMS)
  }

  /** @param {{ signal?: AbortSignal }} [options] `signal` ends the wait. Call `stop()` all the same. */
  static async create({ signal } = {}) {
    const folder = await mkdtemp(join(await realpath(tmpdir()), 'replication-lag-servers-'))
    return new Servers(folder, signal)
  }

  /**
   * Starts a program in its own folder, which keeps its files for the next start of this name.
   *
   * @param {string} name of the node, and of its folder
   * @param {string} program
   * @param {readonly (string | number)[]} parameters
   * @param {{ env?: NodeJS.ProcessEnv, uid?: number, gid?: number, detached?: boolean }} [options]
   */
  async start(name, program, parameters, options = {}) {
    this.signal.throwIfAborted()
    const cwd = await this.folderOf(name)
    const log = join(this.folder, `${name}.log`)
    const file = openSync(log, 'a')
    const child = spawn(program, parameters.map(String), {
      ...options,
      cwd,
      stdio: ['ignore', file, file],
    })
    const { size } = fstatSync(file)
    closeSync(file)
    const server = new Server(name, child, { log, start: size })
    this.#servers.add(server)
    await once(child, 'spawn')
    return server
  }

  /** The folder of a node. It is created if it does not exist. @param {string} name */
  async folderOf(name) {
    const folder = join(this.folder, name)
    await mkdir(folder, { recursive: true })
    return folder
  }

  /** @param {number} target the port of the server behind it */
  async gate(target) {
    const gate = await Gate.open(target)
    this.#gates.add(gate)
    return gate
  }

  /** Calls this at `stop`, before the servers end: clients close then. @param {() => Promise<unknown>} close */
  onStop(close) {
    this.#closers.push(close)
  }

  /**
   * Waits until a condition holds.
   *
   * @template T
   * @param {string} what the condition in words
   * @param {() => T | Promise<T>} condition
   * @returns {Promise<T>}
   */
  until(what, condition) {
    return until(what, condition, { timeoutMillis: 60_000, signal: this.signal })
  }

  /** Ends all servers, even frozen ones, and removes the folder. May be called more than once. */
  stop() {
    return (this.#stopped ??= this.#stop())
  }

  async #stop() {
    await Promise.allSettled(this.#closers.map((close) => close()))
    this.#stopping.abort(new Error('the servers were stopped'))
    await Promise.all([...this.#servers].map((server) => server.kill()))
    await Promise.all([...this.#gates].map((gate) => gate.stop()))
    await this.#janitor.finish()
  }
}

/** One process. */
export class Server {
  #child
  #output
  #exited

  /**
   * @param {string} name
   * @param {import('node:child_process').ChildProcess} child
   * @param {{ log: string, start: number }} output the file with its output, and where that begins
   */
  constructor(name, child, output) {
    this.name = name
    this.#child = child
    this.#output = output
    this.#exited = new Promise((resolve) => {
      child.once('exit', resolve)
      child.once('error', resolve)
    })
    // It does not keep this process alive.
    child.unref()
  }

  /** Settles when it has ended. @returns {Promise<unknown>} */
  get ended() {
    return this.#exited
  }

  get hasExited() {
    return this.#child.exitCode !== null || this.#child.signalCode !== null
  }

  /** The last lines that it has printed. */
  get output() {
    return tail(this.#output.log, this.#output.start)
  }

  get pid() {
    return this.#child.pid
  }

  /**
   * Sends a signal, and waits for the end.
   *
   * @param {NodeJS.Signals} [signal] with SIGKILL, its children end too: if they are frozen, they do not notice its end
   */
  async kill(signal = 'SIGKILL') {
    if (this.hasExited) return
    const children = this.#children()
    this.thaw()
    this.#send(signal, ...(signal === 'SIGKILL' ? children : []))
    this.#child.ref()
    await this.#exited
  }

  /** Stops it and its children where they are: it neither answers nor closes a connection. */
  freeze() {
    // First itself, so that it starts no more children.
    this.#send('SIGSTOP')
    this.#send('SIGSTOP', ...this.#children())
  }

  thaw() {
    this.#send('SIGCONT', ...this.#children())
  }

  #children() {
    return this.pid === undefined ? [] : childrenOf(this.pid)
  }

  /** @param {NodeJS.Signals} signal @param {number[]} children */
  #send(signal, ...children) {
    if (this.hasExited) return
    for (const pid of [this.pid, ...children]) if (pid !== undefined) send(pid, signal)
  }
}

/**
 * A folder in the user's cache, where programs are kept that are large or slow to build.
 *
 * @param {string} name
 */
export function cacheFolder(name) {
  // Like the shell scripts that install them, it takes an empty variable for one that is not set.
  const { XDG_CACHE_HOME: folder = '' } = process.env
  return join(folder === '' ? join(homedir(), '.cache') : folder, name)
}

/** Whether a program is on the PATH, or in a folder where Debian puts servers. @param {string} program */
export async function isOnPath(program) {
  return (await findProgram(program)) !== undefined
}

/** @param {string} program @returns {Promise<string | undefined>} its path */
export async function findProgram(program) {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin']
  for (const folder of folders) {
    const path = join(folder, program)
    if (
      await access(path, constants.X_OK).then(
        () => true,
        () => false,
      )
    )
      return path
  }
  return undefined
}

/**
 * Runs a program to its end.
 *
 * @param {string} program
 * @param {readonly string[]} parameters
 * @param {import('node:child_process').ExecFileOptions} [options]
 * @returns {Promise<string>} what it has printed
 */
export function run(program, parameters, options = {}) {
  return new Promise((resolve, reject) => {
    execFile(program, parameters, options, (error, stdout, stderr) => {
      if (error)
        reject(new Error(`${program}: ${String(stderr) || error.message}`, { cause: error }))
      else resolve(String(stdout))
    })
  })
}

/**
 * Finds a program that unpack-unstable.sh has unpacked.
 *
 * @param {string} package_ the package of Debian: `redis-server`
 * @param {string} path of the program in it: `usr/bin/redis-server`
 * @returns {{ root: string, program: string, parameters: string[] } | undefined} what to run, and the parameters before its
 *   own: its own loader and libraries, because those of this machine can be older
 */
export function findUnstable(package_, path) {
  const root = cacheFolder(join('replication-lag-e2e/unstable', package_))
  const program = join(root, path)
  if (!existsSync(program)) return undefined
  const library = join(root, 'usr/lib/x86_64-linux-gnu')
  return {
    root,
    program: join(root, 'usr/lib64/ld-linux-x86-64.so.2'),
    parameters: ['--library-path', library, program],
  }
}
