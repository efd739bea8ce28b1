import { execa } from 'execa'
import { repository } from './repository.js'

/** Runs a program, also one of a development dependency, and returns what it prints. Rejects with all of that if it fails. */
export async function run(cwd: string, file: string, ...args: string[]): Promise<string> {
  const { stdout } = await execa(file, args, {
    cwd,
    preferLocal: true,
    localDir: repository,
    stripFinalNewline: false,
    // npm passes the folder where it was started to its children. A child npm must use its own folder.
    env: { npm_config_local_prefix: undefined },
  })
  return stdout
}
