import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { Socket } from 'node:net'

/**
 * Ends what still runs in the folder $1 or below, and removes the folder.
 *
 * Only the programs named in $2 are killed, not the shell of somebody who looks around there. A server's children are
 * killed too: they would notice that it is gone, but not if they are frozen. Then the shared memory segment that a
 * killed PostgreSQL leaves, which its postmaster.pid names on line 7, is removed.
 */
const cleanUp = String.raw`
running() {
  if [ -d /proc/self ]; then
    for pid in $(ls -l /proc/[0-9]*/cwd 2>/dev/null | awk -v folder="$1" \
      'index($0, " -> " folder) { sub(/.*\/proc\//, ""); sub(/\/.*/, ""); print }'); do
      case " $2 " in *" $(cat "/proc/$pid/comm" 2>/dev/null) "*) echo "$pid" ;; esac
    done
  else
    ps -A -o pid=,ppid=,command= | awk -v folder="$1" -v programs=" $2 " \
      '{ name = $3; sub(/.*\//, "", name); sub(/:$/, "", name) }
      index(programs, " " name " ") && (index($0, folder) || $2 in ours) { ours[$1]; print $1 }'
  fi
}
for attempt in 1 2 3 4 5; do
  pids=$(running "$1" "$2")
  [ -n "$pids" ] || break
  kill -KILL $pids 2>/dev/null
done
for file in "$1"/*/postmaster.pid; do
  segment=$(sed -n '7s/.* //p' "$file" 2>/dev/null)
  [ -z "$segment" ] || ipcrm -m "$segment" 2>/dev/null
done
for attempt in 1 2 3 4 5; do
  rm -rf "$1" 2>/dev/null && exit 0
  sleep 1
done
exit 1
`

/**
 * Cleans up after a cluster whatever becomes of this process, even when it is killed with SIGKILL.
 *
 * It is a shell in its own session (so Ctrl-C in a terminal does not reach it) that reads from a pipe. The pipe
 * ends when this process lets go of it or is gone.
 */
export class Janitor {
  #folder
  #programs
  #shell

  /**
   * @param {string} folder holds the data folders of the servers, and goes last
   * @param {string} [programs] the names of the programs that run there, as Linux has them: at most 15 characters each
   */
  constructor(folder, programs = 'postgres initdb cp') {
    this.#folder = folder
    this.#programs = programs
    this.#shell = spawn('/bin/sh', ['-c', `cat >/dev/null\n${cleanUp}`, 'sh', folder, programs], {
      cwd: '/',
      detached: true,
      stdio: ['pipe', 'ignore', 'ignore'],
    })
    // It must not keep alive a process that has nothing else to do.
    this.#shell.unref()
    const pipe = this.#shell.stdin
    if (pipe instanceof Socket) pipe.unref()
    process.on('exit', this.#cleanUpNow)
  }

  /** Cleans up. */
  async finish() {
    process.off('exit', this.#cleanUpNow)
    this.#shell.ref()
    const closed = once(this.#shell, 'close')
    this.#shell.stdin.end()
    await closed
    if (this.#shell.exitCode !== 0) throw new Error(`cannot remove ${this.#folder}`)
  }

  /** At the exit of this process nothing can be awaited; but it can be made not to leave before all is clean. */
  #cleanUpNow = () => {
    spawnSync('/bin/sh', ['-c', cleanUp, 'sh', this.#folder, this.#programs], { stdio: 'ignore' })
  }
}
