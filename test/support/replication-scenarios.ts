import type { LeaderEvent, Random, Scenario } from './replication-simulation.js'

export const SECOND = 1000
export const MINUTE = 60 * SECOND
export const HOUR = 60 * MINUTE

/** Writes so many entries a second, from one time to another. */
export function* steady(
  perSecond: number,
  { from = 0, to = Infinity, seqno = 0n, size = 1n } = {},
): Generator<LeaderEvent, bigint> {
  for (let entry = 1, at = from; at < to; entry++) {
    at = from + (entry * SECOND) / perSecond
    if (at < to) yield { at, seqno: (seqno += size) }
  }
  return seqno
}

/** Writes many entries within a fifth of a second, then nothing for some seconds, and so on. */
function* bursts(random: Random): Generator<LeaderEvent> {
  for (let at = 0, seqno = 0n; ;) {
    const count = Math.ceil(400 * random())
    for (let entry = 0; entry < count; entry++) yield { at: (at += 200 / count), seqno: ++seqno }
    // Mostly short waits. Sums and products are the same on every machine, so the plot is, too.
    at += SECOND * (1 + 29 * random() * random())
  }
}

function* idleThenBurst(): Generator<LeaderEvent> {
  let seqno = 0n
  for (let minute = 10; ; minute += 20) {
    seqno = yield* steady(2000, {
      from: minute * MINUTE,
      to: minute * MINUTE + 4 * SECOND,
      seqno,
    })
  }
}

function* jumps(random: Random): Generator<LeaderEvent> {
  let seqno = 0n
  for (const { at } of steady(20)) {
    seqno += random() < 0.01 ? 10n ** 12n : 1n
    yield { at, seqno }
  }
}

/** After 20 minutes it is away for 5 s, comes back without its newest entries, and at first writes more than before. */
function* restarted(lost: bigint): Generator<LeaderEvent> {
  const newest = yield* steady(50, { to: 20 * MINUTE })
  const back = 20 * MINUTE + 5 * SECOND
  yield { at: back, seqno: newest - lost, restart: true }
  const busy = back + 5 * SECOND
  const seqno = yield* steady(150, { from: back, to: busy, seqno: newest - lost })
  yield* steady(50, { from: busy, seqno })
}

/** A pace that changes at a time. */
const from = (at: number, before: number, after: number) => (now: number) =>
  now < at ? before : after

/** The cases in which lag in seconds is known to go wrong. */
export const SCENARIOS = {
  steady: {
    duration: 20 * MINUTE,
    leader: () => steady(100),
    followers: [{ pace: () => Infinity, delay: 250 }],
  },
  bursty: {
    duration: HOUR,
    leader: bursts,
    followers: [
      { pace: () => 25, delay: 20 },
      { pace: () => Infinity, delay: 5 },
    ],
  },
  'idle, then a burst': {
    duration: HOUR,
    leader: idleThenBurst,
    followers: [{ pace: () => 20, delay: 50 }],
  },
  'a follower stalled and resumed': {
    duration: 50 * MINUTE,
    leader: () => steady(50),
    followers: [{ pace: (at) => (at > 5 * MINUTE && at < 25 * MINUTE ? 0 : 150), delay: 40 }],
  },
  'a follower slower than its leader for an hour': {
    duration: 2 * HOUR,
    leader: () => steady(40),
    followers: [{ pace: from(HOUR, 28, 60) }, { pace: () => Infinity, delay: 100 }],
  },
  'a leader restarted at a lower seqno': {
    duration: 45 * MINUTE,
    leader: () => restarted(300n),
    followers: [
      { pace: from(25 * MINUTE, 30, 100) },
      { pace: () => Infinity, delay: 30 },
      { pace: () => Infinity, delay: 15 * SECOND },
    ],
  },
  'a leader restored from an old copy': {
    duration: 45 * MINUTE,
    leader: () => restarted(20_000n),
    followers: [
      { pace: from(25 * MINUTE, 30, 100) },
      { pace: () => Infinity, delay: 30 },
      // This one was restored from the same copy.
      {
        pace: () => Infinity,
        delay: 200,
        reseed: { at: 20 * MINUTE + 5 * SECOND, appliedSeqno: 39_999n },
      },
    ],
  },
  'a follower re-seeded': {
    duration: 40 * MINUTE,
    leader: () => steady(50),
    followers: [
      {
        pace: () => 100,
        delay: 40,
        reseed: { at: 15 * MINUTE, appliedSeqno: 20_000n },
      },
    ],
  },
  'seqnos that jump by 10^12': {
    duration: HOUR,
    leader: jumps,
    followers: [{ pace: from(30 * MINUTE, 15, 30) }],
  },
  'a follower that joins late': {
    duration: 20 * MINUTE,
    leader: bursts,
    followers: [{ joins: 8 * MINUTE, pace: () => 12, delay: 40 }],
  },
  'an event loop blocked for ten seconds': {
    duration: 30 * MINUTE,
    leader: bursts,
    followers: [{ pace: from(15 * MINUTE, 18, 100) }, { pace: () => Infinity, delay: 250 }],
    blocked: [2, 5, 9, 12, 16, 21].map((minute) => ({ at: minute * MINUTE, millis: 10 * SECOND })),
  },
} satisfies Record<string, Scenario>
