/** @typedef {import('opentelemetry-instrumentation-replication-lag').FollowerLag} FollowerLag */

/** What the sentence says while nothing is broken. */
export const CALM = 'All followers apply what they receive.'
/** How many samples are kept: one a second. */
const LENGTH = 180

/** What was collected in the last minutes, for sparklines and for the page. */
export class History {
  /** When each sample was collected, in seconds since 1970. @type {number[]} */
  times = []
  /** By follower, a value or null for each sample. @type {Map<string, { lags: (number | null)[], seconds: (number | null)[] }>} */
  followers = new Map()
  /** What was broken, in the order in which it was first, and when, in seconds since 1970. */
  incidents = {
    /** @type {string[]} */
    titles: [],
    /** @type {{ title: string, from: number, to: number }[]} */
    scenes: [],
  }
  /** What happens now. */
  sentence = CALM

  /**
   * @param {readonly FollowerLag[]} snapshot
   * @param {string | undefined} scene the title of the one that is played now
   */
  add(snapshot, scene) {
    const now = Date.now() / 1000
    this.times = [...this.times, now].slice(-LENGTH)
    for (const { replica = '' } of snapshot) {
      if (this.followers.has(replica)) continue
      const nothing = this.times.slice(1).map(() => null)
      this.followers.set(replica, { lags: nothing, seconds: nothing })
    }
    for (const [replica, { lags, seconds }] of this.followers) {
      const found = snapshot.find((each) => each.replica === replica)
      this.followers.set(replica, {
        lags: [...lags, found?.lagSeqno ?? null].slice(-LENGTH),
        seconds: [...seconds, found?.lagSeconds ?? null].slice(-LENGTH),
      })
    }
    const { titles, scenes } = this.incidents
    const last = scenes.at(-1)
    if (scene !== undefined && !titles.includes(scene)) titles.push(scene)
    if (scene !== undefined && last?.title === scene && now - last.to < 3) last.to = now
    else if (scene !== undefined) scenes.push({ title: scene, from: now, to: now })
    this.incidents.scenes = scenes.filter(({ to }) => to >= (this.times[0] ?? 0))
  }
}
