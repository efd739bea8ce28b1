import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { BroadcastChannel } from 'node:worker_threads'
import { expect, it, vi } from 'vitest'
import { PeerChannel } from '../src/peer-channel.js'
import { eventually } from './support/eventually.js'

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

let names = 0
function open(name: string) {
  const heard: unknown[] = []
  const channel = new PeerChannel(name, (message) => heard.push(message))
  return { channel, heard }
}

/** In a function of its own, which holds on to nothing when it is over. */
function openAndForget(name: string): WeakRef<PeerChannel> {
  return new WeakRef(open(name).channel)
}

it('carries messages to all others of its name, in order', () => {
  const name = `peers-${names++}`
  const [one, two, three, other] = [open(name), open(name), open(name), open(`${name}-other`)]
  for (const message of [1, 2, 3]) one.channel.send(message)
  expect([two, three, other, one].map(({ channel }) => channel.drain())).toEqual([
    true,
    true,
    false,
    false,
  ])
  expect([two.heard, three.heard]).toEqual([
    [1, 2, 3],
    [1, 2, 3],
  ])
  expect(two.channel.drain()).toBe(false)
})

it('hears what is sent also while nobody drains it', async () => {
  const name = `peers-${names++}`
  const [one, two] = [open(name), open(name)]
  one.channel.send('hello')
  await eventually(() => expect(two.heard).toEqual(['hello']))
  expect(two.channel.drain()).toBe(false)
})

it('does not go on draining for ever while others send', () => {
  const name = `peers-${names++}`
  const one = open(name)
  let heard = 0
  const busy = new PeerChannel(name, () => {
    heard++
    one.channel.send('and another')
  })
  one.channel.send('first')
  expect(busy.drain()).toBe(true)
  expect(heard).toBe(100_000)
})

it('is closed when its owner is garbage', async () => {
  const close = vi.spyOn(BroadcastChannel.prototype, 'close')
  const name = `peers-${names++}`
  const kept = open(name)
  const abandoned = openAndForget(name)
  kept.channel.send('to whoever is there')
  await eventually(() => {
    collectGarbage()
    // Not the channel itself: the error would hold on to it.
    expect(abandoned.deref() === undefined).toBe(true)
    expect(close.mock.contexts.map((channel) => (channel as BroadcastChannel).name)).toContain(name)
  })
  expect(kept.channel.name).toBe(name)
})
