import fc from 'fast-check'
import { expect, it } from 'vitest'
import { SlotPages } from '../src/slot-pages.js'

const SLOTS = 4

/** Pages that are numbered in the order in which they are made. */
function numberedPages() {
  const made: { readonly page: number }[] = []
  const pages = new SlotPages(SLOTS, () => {
    made.push({ page: made.length })
    return made.at(-1)
  })
  return { pages, made }
}

it('slots that are taken one after the other are side by side, a page at a time', () => {
  const { pages, made } = numberedPages()
  expect(made).toHaveLength(0)
  const slots = Array.from({ length: 2 * SLOTS }, () => pages.take())
  expect(slots).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
  expect(slots.map((slot) => pages.pageOf(slot)?.page)).toEqual([0, 0, 0, 0, 1, 1, 1, 1])
  expect(made).toHaveLength(2)
})

it('a slot that was given back is taken again', () => {
  const { pages, made } = numberedPages()
  for (let i = 0; i < 2 * SLOTS; i++) pages.take()
  pages.giveBack(2)
  expect(pages.take()).toBe(2)
  expect(made).toHaveLength(2)
})

it('a page of which every slot was given back is given up, and another one takes its place', () => {
  const { pages, made } = numberedPages()
  for (let i = 0; i < 2 * SLOTS; i++) pages.take()
  for (let slot = 0; slot < SLOTS; slot++) pages.giveBack(slot)
  expect(pages.pageOf(SLOTS)).toBe(made[1])
  expect(pages.take()).toBe(0)
  expect(pages.pageOf(0)).toBe(made[2])
})

it('no slot is had twice, nor in a page that was given up, whatever is taken and given back', () => {
  const commands = fc.array(fc.oneof(fc.constant('take' as const), fc.nat(50)), { maxLength: 200 })
  fc.assert(
    fc.property(commands, (commands) => {
      const { pages, made } = numberedPages()
      const held = new Map<number, (typeof made)[number] | undefined>()
      for (const command of commands) {
        if (command === 'take') {
          const slot = pages.take()
          expect(held.has(slot)).toBe(false)
          held.set(slot, pages.pageOf(slot))
        } else {
          const slot = [...held.keys()][command % Math.max(1, held.size)]
          if (slot === undefined) continue
          held.delete(slot)
          pages.giveBack(slot)
        }
        for (const [slot, page] of held) expect(pages.pageOf(slot)).toBe(page)
        expect(new Set(held.values()).size).toBeLessThanOrEqual(made.length)
      }
    }),
  )
})
