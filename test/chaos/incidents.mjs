/**
 * Something that can happen. It begins and ends with a method and its parameters: of a gate for a link, of a program, and
 * otherwise of the system, where the first parameter is the follower. What it makes certain or uncertain:
 *
 * - `stopped`: the node does not run. `emptied`: nor does it, and it begins again without its data.
 * - `cut`: the follower receives nothing. `throttled`: it receives less. `held`: it applies nothing. `changed`: another node may lead.
 * - `joined`: the follower exists from its beginning to its end. `left`: it does not. `renamed`: it connects again at both.
 * - `blocked`: the monitor cannot reach the node. `slow`: its reads may take longer.
 * - `paused`: the monitor does not run. `restarted`: it begins anew. `moved`: its clock is wrong.
 * - `denied`: the monitor may be refused. `refused`: the leader refuses it, and its connections end.
 *
 * @typedef {'stopped' | 'emptied' | 'cut' | 'throttled' | 'held' | 'blocked' | 'slow' | 'denied' | 'refused' | 'changed' | 'joined' | 'left' | 'renamed' | 'paused' | 'restarted' | 'moved' | 'none'} EffectKind
 * @typedef {'follower' | 'rights' | 'leader' | 'members' | 'name' | 'link' | 'program'} Subject
 * @typedef {readonly [method: string, ...parameters: unknown[]]} Call
 * @typedef {readonly [on: Subject, effect: EffectKind, begin: Call, end?: Call]} Incident
 */

/** By how much a clock is wrong. */
export const HOUR = 3_600_000

/** @type {Readonly<Record<string, Incident>>} */
export const INCIDENTS = {
  'link cut': ['follower', 'cut', ['cut'], ['mend']],
  'link throttled': ['follower', 'throttled', ['throttle', 10_000], ['throttle', Infinity]],
  'applying paused': ['follower', 'held', ['pauseApplying'], ['resumeApplying']],
  'follower frozen': ['follower', 'stopped', ['pause'], ['resume']],
  'follower killed': ['follower', 'stopped', ['kill'], ['restart']],
  'follower rebuilt': ['follower', 'emptied', ['wipe']],
  'follower added': ['members', 'joined', ['addFollower'], ['removeFollower']],
  'follower renamed': ['name', 'joined', ['rename'], ['rename']],
  'identity changed': ['follower', 'renamed', ['changeIdentity'], ['changeIdentity']],
  'leader frozen': ['leader', 'stopped', ['freeze'], ['thaw']],
  'leader restarted': ['leader', 'stopped', ['killLeader'], ['startLeader']],
  'leader killed': ['leader', 'changed', ['failOver', { keepsData: false }]],
  'log truncated': ['leader', 'none', ['truncate']],
  'shard created again': ['leader', 'changed', ['recreate']],
  'privilege revoked': ['rights', 'denied', ['revoke'], ['grant']],
  'password changed': ['rights', 'refused', ['changePassword', 'x'], ['changePassword']],
  'connections exhausted': ['rights', 'refused', ['exhaust'], ['relieve']],
  'node unreachable': ['link', 'blocked', ['close'], ['reopen']],
  'node 200 ms away': ['link', 'slow', ['delay', 100], ['delay', 0]],
  'connections dropped': ['link', 'blocked', ['dropClients']],
  'monitor restarted': ['program', 'restarted', ['restart']],
  'monitor frozen': ['program', 'paused', ['signal', 'SIGSTOP'], ['signal', 'SIGCONT']],
  'event loop stalled': ['program', 'paused', ['stall', 3000]],
  'clock moved': ['program', 'moved', ['moveClock', HOUR], ['moveClock', 0]],
}

/** One incident of a schedule. `pick` chooses what it happens to. @typedef {{ at: number, name: string, pick: number, millis: number }} Planned */

/** Draws incidents, some at the same time and in quick succession. @param {() => number} random @param {readonly string[]} names @param {{ from: number, to: number, count: number }} limits */
export function drawSchedule(random, names, { from, to, count }) {
  /** @type {Planned[]} */
  const schedule = []
  for (let at = from; schedule.length < count;) {
    // Most are short. Some last until old numbers must be gone. Now and then, all is well for a while.
    const millis = Math.min(1500 + random() ** 4 * 40_000, to - at)
    if (millis < 1500) break
    const name = names[Math.floor(random() * names.length)] ?? ''
    schedule.push({ at, name, pick: Math.floor(random() * 6), millis })
    const calm = random() < 0.15 ? 25_000 : 0
    at += calm + (random() < 0.5 ? random() * 1500 : random() * millis + random() * 6000)
  }
  return schedule
}
