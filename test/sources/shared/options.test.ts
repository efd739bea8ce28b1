import { afterEach, beforeEach, expect, it } from 'vitest'
import { checkCommonOptions, checkShardOptions } from '../../../src/sources/shared/options.js'
import { recordDiag, type DiagRecorder } from '../../support/diag.js'

let log: DiagRecorder
beforeEach(() => (log = recordDiag()))
afterEach(() => log.stop())

it('names a source by its system and shard, and lets all followers pass', () => {
  const { shard, name, passes } = checkShardOptions('etcd', { shard: 7, name: undefined })
  expect({ shard, name }).toEqual({ shard: '7', name: 'etcd:7' })
  expect(passes({ replica: 'a' })).toBe(true)
  expect(log.messages).toEqual([])
})

it('takes the name and the filter that are given', () => {
  const filter = ({ replica }: { replica: string }) => replica === 'a'
  const { name, passes } = checkShardOptions('etcd', { shard: 'a', name: 'mine', filter })
  expect(name).toBe('mine')
  expect([passes({ replica: 'a' }), passes({ replica: 'b' })]).toEqual([true, false])
  expect(checkCommonOptions('kafka', { filter: undefined }).name).toBeUndefined()
})

it('logs options that do not exist', () => {
  const rest = { shard: 'a', hosts: [], retries: 7 }
  checkShardOptions('etcd', rest)
  expect(log.matching('warn', 'etcdSource: unknown option "hosts"')).toHaveLength(1)
  expect(log.matching('warn', 'etcdSource: unknown option "retries"')).toHaveLength(1)
  expect(log.messages).toHaveLength(2)
})

it.each<[object, RegExp]>([
  [{ shard: '' }, /^shard: expected a non-empty/],
  [{ shard: 'a', name: 7 }, /^name: expected a non-empty/],
  [{ shard: 'a', filter: /a/ }, /^filter: expected a function, got an object$/],
])('refuses %o', (rest, message) => {
  const check = () => checkShardOptions('etcd', rest as { shard: string })
  expect(check).toThrow(TypeError)
  expect(check).toThrow(message)
})

it('refuses a filter that does not return a boolean, when it is called', () => {
  const { passes } = checkCommonOptions('etcd', { filter: () => 'yes' as unknown as boolean })
  expect(() => passes({})).toThrow('filter: expected a function that returns a boolean, got "yes"')
})
