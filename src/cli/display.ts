import type { FollowerLag } from '../lag-map/follower-lag.js'
import { keyOf, nameOf } from './table.js'

/** Where the command shows what happens. */
export interface Display {
  /** Shows a message of this package or of the SDK. */
  log(level: 'error' | 'warn' | 'info' | 'debug', message: string): void
  /** Shows what is polled, and where the metrics are. */
  start(heading: string): void
  /** Shows the followers. It is called once a second. */
  update(followers: readonly FollowerLag[]): void
}

/** Prints one line for each change, for logs and pipes. The failures of sources are among the messages. */
export class LineDisplay implements Display {
  private known = new Map<string, FollowerLag>()

  log(_level: string, message: string): void {
    process.stderr.write(`${message}\n`)
  }

  start(heading: string): void {
    process.stdout.write(`${heading}\n`)
  }

  update(followers: readonly FollowerLag[]): void {
    const found = new Map(followers.map((lag) => [keyOf(lag), lag]))
    for (const [key, lag] of found) {
      if (lag.connected === this.known.get(key)?.connected) continue
      this.print(lag, lag.connected === false ? 'is not connected' : 'is connected')
    }
    for (const [key, lag] of this.known) {
      if (!found.has(key)) this.print(lag, 'is no longer reported')
    }
    this.known = found
  }

  private print(lag: FollowerLag, change: string): void {
    process.stdout.write(`${new Date().toISOString()} ${nameOf(lag)} ${change}\n`)
  }
}
