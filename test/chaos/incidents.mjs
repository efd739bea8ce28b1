/**
 * Something that can happen. `begin` and `end` are methods and their parameters: of a gate for a link, of a program, and
 * otherwise of the system, where the first parameter is the follower.
 *
 * What it makes certain or uncertain:
 * - `stopped`: the node does not run. It neither writes, applies nor answers.
 * - `emptied`: the node does not run, and begins again without its data.
 * - `cut`: the follower has no connection to its leader.
 * - `blocked`: the monitor cannot reach the node.
 * - `slow`: reads of the monitor may take longer.
 * - `denied`: the monitor may be refused.
 * - `changed`: another node may lead.
 * - `joined`: the follower exists from its begin to its end.
 * - `paused`: the monitor does not run.
 *
 * @typedef {'stopped' | 'emptied' | 'cut' | 'blocked' | 'slow' | 'denied' | 'changed' | 'joined' | 'paused' | 'none'} EffectKind
 * @typedef {'follower' | 'rights' | 'leader' | 'members' | 'link' | 'program' | 'service'} Subject
 * @typedef {readonly [method: string, ...parameters: unknown[]]} Call
 * @typedef {{ on: Subject, effect?: EffectKind, begin: Call, end?: Call }} Incident
 */

/** @type {Readonly<Record<string, Incident>>} */
export const INCIDENTS = {
  'link cut': { on: 'follower', effect: 'cut', begin: ['cut'], end: ['mend'] },
  'applying paused': { on: 'follower', begin: ['pauseApplying'], end: ['resumeApplying'] },
  'follower frozen': { on: 'follower', effect: 'stopped', begin: ['pause'], end: ['resume'] },
  'follower killed': { on: 'follower', effect: 'stopped', begin: ['kill'], end: ['restart'] },
  'follower rebuilt': { on: 'follower', effect: 'emptied', begin: ['wipe'] },
  'follower added': {
    on: 'members',
    effect: 'joined',
    begin: ['addFollower'],
    end: ['removeFollower'],
  },
  'leader frozen': { on: 'leader', effect: 'stopped', begin: ['freeze'], end: ['thaw'] },
  'leader killed': { on: 'leader', effect: 'changed', begin: ['failOver', { keepsData: false }] },
  'right revoked': { on: 'rights', effect: 'denied', begin: ['revoke'], end: ['grant'] },
  'password changed': {
    on: 'rights',
    effect: 'denied',
    begin: ['changePassword', 'x'],
    end: ['changePassword'],
  },
  'node unreachable': { on: 'link', effect: 'blocked', begin: ['close'], end: ['reopen'] },
  'node 200 ms away': { on: 'link', effect: 'slow', begin: ['delay', 100], end: ['delay', 0] },
  'connections dropped': { on: 'link', effect: 'blocked', begin: ['dropClients'] },
  'monitor restarted': { on: 'program', effect: 'paused', begin: ['restart'] },
  'monitor frozen': {
    on: 'program',
    effect: 'paused',
    begin: ['signal', 'SIGSTOP'],
    end: ['signal', 'SIGCONT'],
  },
  'event loop stalled': { on: 'service', effect: 'paused', begin: ['stall', 3000] },
  'clock moved': { on: 'service', begin: ['moveClock', 3_600_000], end: ['moveClock', 0] },
}

/** One incident of a schedule. `pick` chooses what it happens to. @typedef {{ at: number, name: string, pick: number, millis: number }} Planned */

/** Draws incidents, some at the same time and in quick succession. @param {() => number} random @param {readonly string[]} names @param {{ from: number, to: number, count: number }} limits */
export function drawSchedule(random, names, { from, to, count }) {
  /** @type {Planned[]} */
  const schedule = []
  for (let at = from; schedule.length < count;) {
    const millis = 1500 + random() ** 1.5 * 18_000
    if (at + millis > to) break
    const name = names[Math.floor(random() * names.length)] ?? ''
    schedule.push({ at, name, pick: Math.floor(random() * 6), millis })
    at += random() < 0.5 ? random() * 1500 : random() * millis + random() * 6000
  }
  return schedule
}
