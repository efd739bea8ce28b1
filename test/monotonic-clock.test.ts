import { expect, it, vi } from 'vitest'
import { monotonicClock } from '../src/monotonic-clock.js'

/** What a clock makes of these readings of another one; the first is of when it is made. */
function read(...readings: (number | Error)[]): number[] {
  let next = 0
  const clock = monotonicClock(() => {
    const reading = readings[next++] as number | Error
    if (reading instanceof Error) throw reading
    return reading
  })
  return readings.slice(1).map(() => clock())
}

it('begins at 0 and passes as the other clock does', () => {
  expect(read(5000, 5000, 5001, 6000)).toEqual([0, 1, 1000])
})

it('stands still while the other goes back, and goes on with it', () => {
  expect(read(5000, 6000, 1000, 1500, 7000)).toEqual([1000, 1000, 1500, 7000])
})

it.each([NaN, Infinity, -Infinity, new Error('no time')])('stands still at %s', (reading) => {
  expect(read(0, 100, reading, reading, 300)).toEqual([100, 100, 100, 300])
})

it('stands still at a jump that is further than a number can tell', () => {
  expect(read(-1.7e308, 1.7e308, 1.7e308)).toEqual([0, 0])
})

it('begins when the other first tells the time', () => {
  expect(read(NaN, NaN, 500, 700)).toEqual([0, 0, 200])
})

it('takes what is no number for no time', () => {
  expect(read(0, '7' as unknown as number, 300)).toEqual([0, 300])
})

it("is by default the process's own, which measures time", () => {
  const now = vi.spyOn(performance, 'now').mockReturnValue(5000)
  const clock = monotonicClock()
  now.mockReturnValue(5020)
  expect(clock()).toBe(20)
  now.mockRestore()
})
