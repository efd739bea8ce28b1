import { vi } from 'vitest'

/**
 * Lets other threads act just before a method runs the next time. What that shows of threads that act at the same moment
 * is the same each time, as no real thread would be.
 */
export function interrupt<T extends object>(
  object: T,
  method: keyof T & string,
  act: () => void,
): void {
  const original = object[method] as (...parameters: unknown[]) => unknown
  const spy = vi.spyOn(object as Record<string, typeof original>, method)
  spy.mockImplementationOnce(function (this: unknown, ...parameters) {
    act()
    return original.apply(this, parameters)
  })
}
