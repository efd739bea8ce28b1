import { judge } from '../chaos/oracle.mjs'

/** @import { Series } from '../servers/monitors.mjs' */
/** @import { Recording } from '../chaos/world.mjs' */

/** Turns a page into that of a monitor that is wrong. @typedef {(page: Series[], before: Series[][]) => Series[]} Lie */

/** @param {string} name @param {(value: number) => number} lie @returns {Lie} */
const change = (name, lie) => (page) =>
  page.map((each) =>
    each.metric === `replication_${name}` ? { ...each, value: lie(each.value) } : each,
  )

const LAST_SUCCESS = 'source_last_success_timestamp_seconds'

/** @type {Readonly<Record<string, Lie>>} */
const LIES = {
  'lag is always 0': change('lag_seqno', () => 0),
  'lag is half': change('lag_seqno', (value) => Math.floor(value / 2)),
  'lag is one more': change('lag_seqno', (value) => value + 1),
  'seconds are always 0': change('lag_seconds', () => 0),
  'seconds are 10 more': change('lag_seconds', (value) => value + 10),
  'always connected': change('follower_connected', () => 1),
  'never connected': change('follower_connected', () => 0),
  'always up': change('source_up', () => 1),
  'never up': change('source_up', () => 0),
  'receive lag is always 0': change('receive_lag_seqno', () => 0),
  'receive lag is the lag': (page) =>
    page.map((each) => {
      const isOf = (/** @type {Series} */ { metric, replica }) =>
        metric === 'replication_lag_seqno' && replica === each.replica
      const isReceived = each.metric === 'replication_receive_lag_seqno'
      return isReceived ? { ...each, value: page.find(isOf)?.value ?? 0 } : each
    }),
  'retained is half': change('retained_seqno', (value) => Math.floor(value / 2)),
  'leader is one further': change('leader_seqno', (value) => value + 1),
  'last success is 10 s older': change(LAST_SUCCESS, (value) => value - 10),
  'followers disappear for a moment': (page) => {
    const at = page.find(({ metric }) => metric === `replication_${LAST_SUCCESS}`)?.value ?? 0
    return Math.floor(at) % 20 === 0 ? page.filter(({ replica }) => replica === undefined) : page
  },
  'as 20 pages before': (page, before) => before.at(-20) ?? page,
  'removed followers stay': (page, before) => {
    const isGone = (/** @type {Series} */ { metric, replica }) =>
      page.length > 0 && !page.some((each) => each.metric === metric && each.replica === replica)
    const last = before.findLast((each) => each.some(isGone)) ?? []
    return [...page, ...last.filter(isGone)]
  },
  'no followers': (page) => page.filter(({ replica }) => replica === undefined),
}

/** Returns how many failures the oracle finds in what wrong monitors would have shown, in addition to the real ones. @param {Recording} recording */
export function judgeLies(recording) {
  const count = (/** @type {Recording} */ each) => judge(each).failures.length
  const truth = count(recording)
  const counts = Object.entries(LIES).map(([name, lie]) => {
    const scrapes = recording.scrapes.map((scrape, index, all) => {
      const before = all.slice(Math.max(0, index - 180), index)
      const own = before.filter(({ monitor }) => monitor === scrape.monitor)
      return {
        ...scrape,
        series: lie(
          scrape.series,
          own.map(({ series }) => series),
        ),
      }
    })
    return /** @type {const} */ ([name, count({ ...recording, scrapes }) - truth])
  })
  return new Map(counts)
}
