import fc from 'fast-check'
import type { ReplicationReading } from 'opentelemetry-instrumentation-replication-lag'
import { expect } from 'vitest'

/** A request, as a fake server gets it. */
export interface FakeRequest {
  readonly url: string
  readonly method: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string
  readonly signal: AbortSignal
}

/** An answer that is not 200 with JSON. */
export class FakeResponse {
  constructor(
    readonly status: number,
    readonly body: string,
  ) {}
}

/** A `fetch` that is answered with JSON, a FakeResponse, or whatever else the function does. */
export function fakeFetch(answer: (path: string, request: FakeRequest) => unknown) {
  return async (url: string, request: Omit<FakeRequest, 'url'>) => {
    const { pathname, search } = new URL(url)
    const found = await answer(`${pathname}${search}`, { ...request, url })
    const { status, body } =
      found instanceof FakeResponse ? found : new FakeResponse(200, JSON.stringify(found))
    return { ok: status < 300, status, text: () => Promise.resolve(body) }
  }
}

const NUMBERS = ['0', '7', '-1', -1, 0, 7, 1.5, 2 ** 53, 1e300, `${2n ** 64n - 1n}`, `${2n ** 64n}`]
const OTHERS = [undefined, null, '', true, 'x'.repeat(2000), '\ud800', [], {}]
const VALUES = fc.oneof(fc.constantFrom<unknown>(...NUMBERS, ...OTHERS), fc.jsonValue())

/** Recorded answers with up to three changes, at any depth. @param values what a part can become */
export function mutated<T>(answer: T, values: fc.Arbitrary<unknown> = VALUES): fc.Arbitrary<T> {
  const change = fc.tuple(fc.array(fc.nat(), { minLength: 1, maxLength: 8 }), values)
  return fc.array(change, { maxLength: 3 }).map((changes) => {
    const copy = structuredClone(answer)
    for (const [path, value] of changes) setAt(copy, path, value)
    return copy
  })
}

/** Follows a path of numbers, each of which chooses a field, and replaces what is at its end. */
function setAt(target: unknown, path: readonly number[], value: unknown): void {
  const [first = 0, ...rest] = path
  const map = target instanceof Map ? (target as Map<unknown, unknown>) : undefined
  const keys = map ? [...map.keys()] : Object.keys(target as object)
  if (keys.length === 0) return
  const key = keys[first % keys.length]
  const child = map ? map.get(key) : (target as Record<string, unknown>)[key as string]
  const isBranch = typeof child === 'object' && child !== null && !ArrayBuffer.isView(child)
  if (rest.length > 0 && isBranch) setAt(child, rest, value)
  else if (map) map.set(key, value)
  else Reflect.set(target as object, key as string, value)
}

/** Expects a valid reading, or an error with this message. */
export function validate(result: unknown, message: RegExp): void {
  if (result instanceof Error) {
    expect(result.message).toMatch(message)
    return
  }
  const { shards } = result as ReplicationReading
  for (const { shard, leaderSeqno, followers, removed = [] } of shards) {
    expect(shard).toMatch(/^.+$/s)
    const isSeqno = (value: unknown) =>
      typeof value === 'bigint' &&
      value >= 0n &&
      value < 2n ** 64n &&
      value <= BigInt(leaderSeqno ?? 0)
    if (leaderSeqno !== undefined) expect(leaderSeqno).toSatisfy(isSeqno)
    const names = [...followers.map(({ replica }) => replica), ...removed]
    expect(new Set(names).size).toBe(names.length)
    for (const { replica, appliedSeqno = 0n, receivedSeqno = 0n } of followers) {
      expect(replica).toMatch(/^.{1,1024}$/s)
      expect(appliedSeqno).toSatisfy(isSeqno)
      expect(receivedSeqno).toSatisfy((value) => typeof value === 'bigint' && value >= 0n)
    }
  }
}
