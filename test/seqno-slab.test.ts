import { afterEach, describe, expect, it, vi } from 'vitest'
import { SeqnoSlab } from '../src/seqno-slab.js'
import { interrupt } from './support/interrupt.js'

afterEach(() => {
  vi.restoreAllMocks()
})

/** A slab, and another thread's view of it. */
function sharedSlab() {
  const slab = new SeqnoSlab(3)
  return { slab, other: new SeqnoSlab(slab.share()), generation: slab.claim(1) }
}

describe('a register that is alive', () => {
  it('holds nothing until a seqno is stored', () => {
    const { slab, other, generation } = sharedSlab()
    expect(slab.load(1, generation)).toBeUndefined()
    expect(slab.store(1, generation, 0n)).toBe(true)
    expect(other.load(1, generation)).toBe(0n)
    expect([slab.load(0, 0), slab.load(2, 0)]).toEqual([undefined, undefined])
  })

  it('is raised to what is higher, and never lowered by that', () => {
    const { slab, generation } = sharedSlab()
    slab.raise(1, generation, 5n)
    slab.raise(1, generation, 4n)
    expect(slab.load(1, generation)).toBe(5n)
    slab.raise(1, generation, 2n ** 64n - 1n)
    expect(slab.load(1, generation)).toBe(2n ** 64n - 1n)
  })

  it.each([
    [3n, 5n],
    [7n, 7n],
  ])('is raised to the highest when another thread stores %s meanwhile', (seqno, highest) => {
    const { slab, other, generation } = sharedSlab()
    interrupt(Atomics, 'compareExchange', () => other.store(1, generation, seqno))
    slab.raise(1, generation, 5n)
    expect(slab.load(1, generation)).toBe(highest)
  })

  it('is written and withheld by two threads at the same moment', () => {
    const { slab, other, generation } = sharedSlab()
    interrupt(Atomics, 'compareExchange', () => other.setWithheld(1, generation, true))
    expect(slab.store(1, generation, 5n)).toBe(true)
    expect(other.load(1, generation)).toBe(5n)
    expect(slab.isWithheld(1, generation)).toBe(true)
    other.setWithheld(1, generation, false)
    expect(slab.isWithheld(1, generation)).toBe(false)
  })
})

describe('a register that is killed', () => {
  it('is dead for every holder, who was not the one that has it next', () => {
    const { slab, other, generation } = sharedSlab()
    slab.store(1, generation, 5n)
    expect(other.kill(1, generation)).toBe(5n)
    expect(slab.kill(1, generation)).toBeUndefined()
    const next = other.claim(1)
    expect(other.load(1, next)).toBeUndefined()
    expect(slab.store(1, generation, 6n)).toBe(false)
    slab.raise(1, generation, 6n)
    slab.setWithheld(1, generation, true)
    expect(slab.load(1, generation)).toBeUndefined()
    expect([slab.isAlive(1, generation), slab.isWithheld(1, generation)]).toEqual([false, false])
    expect(other.load(1, next)).toBeUndefined()
    expect([other.isAlive(1, next), other.isWithheld(1, next)]).toEqual([true, false])
  })

  it('leaves nothing to the one that has it next', () => {
    const { slab, generation } = sharedSlab()
    slab.store(1, generation, 5n)
    slab.kill(1, generation)
    const next = slab.claim(1)
    slab.raise(1, next, 2n)
    expect(slab.load(1, next)).toBe(2n)
  })

  it('gives what was stored last, if that was before', () => {
    const { slab, other, generation } = sharedSlab()
    interrupt(Atomics, 'compareExchange', () => other.store(1, generation, 5n))
    expect(slab.kill(1, generation)).toBe(5n)
    expect(slab.kill(0, 0)).toBeUndefined()
  })

  it.each(['the first', 'a later'])(
    'does not hold what was stored after, and %s store says so',
    (which) => {
      const { slab, other, generation } = sharedSlab()
      if (which === 'a later') slab.store(1, generation, 5n)
      interrupt(Atomics, 'store', () => other.kill(1, generation))
      expect(slab.store(1, generation, 6n)).toBe(false)
    },
  )

  it('is not loaded from when it is killed meanwhile', () => {
    const { slab, other, generation } = sharedSlab()
    slab.store(1, generation, 5n)
    interrupt(Atomics, 'load', () => other.kill(1, generation))
    expect(slab.load(1, generation)).toBeUndefined()
  })

  it('comes back after the highest generation with the lowest', () => {
    const { slab } = sharedSlab()
    const highest = 2 ** 31 - 8
    new Int32Array(slab.buffer, 3 * 8)[1] = highest
    expect(slab.claim(1)).toBe(highest)
    expect(slab.store(1, highest, 5n)).toBe(true)
    slab.kill(1, highest)
    const lowest = slab.claim(1)
    expect(lowest).toBe(-(2 ** 31))
    expect(slab.store(1, lowest, 6n)).toBe(true)
    slab.setWithheld(1, lowest, true)
    slab.setFromSource(1, lowest)
    expect([slab.load(1, highest), slab.load(1, lowest)]).toEqual([undefined, 6n])
    expect(slab.kill(1, lowest)).toBe(6n)
  })
})
