import type { FollowerLag } from '../lag-map/follower-lag.js'
import type { Display } from './display.js'
import { keyOf, nameOf, paint, renderTable, wrap } from './table.js'
import { describeSource, findByteShards, type WatchedSource } from './watched-source.js'

/** How many seconds the charts show. */
const HISTORY = 60
/** How many messages stay below the table. */
const MESSAGES = 3

/** Draws a table in the terminal, again and again in the same place. */
export class LiveDisplay implements Display {
  private heading = ''
  private messages: string[] = []
  private followers: readonly FollowerLag[] = []
  private readonly history = new Map<string, (number | undefined)[]>()
  /** How many lines were drawn last. */
  private height = 0

  constructor(
    private readonly sources: readonly WatchedSource[],
    private readonly terminal: NodeJS.WriteStream = process.stdout,
  ) {
    terminal.on('resize', () => {
      // The terminal has wrapped the old lines in its own way, so how many to erase is not known.
      terminal.write('\u001b[2J\u001b[H')
      this.height = 0
      this.draw()
    })
  }

  log(level: string, message: string): void {
    // Below the table is why a source cannot be read.
    const isShown = level === 'error' || level === 'warn'
    if (!isShown || this.sources.some(({ name }) => message.includes(`source "${name}"`))) return
    this.messages = [...this.messages, message].slice(-MESSAGES)
  }

  start(heading: string): void {
    this.heading = heading
    this.draw()
  }

  update(followers: readonly FollowerLag[]): void {
    this.followers = followers
    const found = new Map(followers.map((lag) => [keyOf(lag), lag.lagSeconds]))
    for (const key of this.history.keys()) if (!found.has(key)) this.history.delete(key)
    for (const [key, seconds] of found) {
      this.history.set(key, [...(this.history.get(key) ?? []), seconds].slice(-HISTORY))
    }
    this.draw()
  }

  private draw(): void {
    const { columns, rows } = this.terminal
    const colors = !process.env['NO_COLOR']
    const fit = (texts: readonly string[]) => texts.flatMap((text) => wrap(text, columns))
    const heading = [...fit([this.heading]), '']
    const problems = fit(this.sources.flatMap(describeSource)).map((line) =>
      paint('red', line, colors),
    )
    const footer = [...problems, ...fit(this.messages), 'Ctrl-C ends it.'].slice(
      -Math.floor(rows / 2),
    )
    const room = Math.max(1, rows - 1 - heading.length - footer.length - 3)
    const shown = this.choose(room)
    const { history } = this
    const byteShards = findByteShards(this.sources)
    const table = renderTable(shown, { columns, colors, byteShards, history })
    const hidden = this.followers.length - shown.length
    const more =
      hidden > 0 ? [`and ${hidden} more, which are less far behind`.slice(0, columns)] : []
    const lines = [...heading, ...table, ...more, '', ...footer].slice(0, rows - 1)
    const up = this.height > 0 ? `\u001b[${this.height}A` : ''
    this.terminal.write(`${up}\r\u001b[J${lines.join('\n')}\n`)
    this.height = lines.length
  }

  /** Returns as many followers as there is room for, the worst if not all, by name. */
  private choose(room: number): FollowerLag[] {
    const badness = ({ connected, lagSeconds, lagSeqno }: FollowerLag) =>
      connected === false || lagSeconds === undefined || lagSeqno === undefined
        ? Infinity
        : lagSeconds
    const all = [...this.followers]
    if (all.length > room) {
      all.sort((a, b) => (badness(a) === badness(b) ? 0 : badness(b) > badness(a) ? 1 : -1))
    }
    return all.slice(0, room).sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1))
  }
}
