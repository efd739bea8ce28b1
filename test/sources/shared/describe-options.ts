import type { ReplicationSource } from 'opentelemetry-instrumentation-replication-lag'
import { describe, expect, it, onTestFinished } from 'vitest'
import { recordDiag } from '../../support/diag.js'

/**
 * Describes what the options of every source have in common.
 *
 * @param create creates a source
 * @param valid the options that it needs
 * @param name of the source with these options
 * @param invalid options that replace the valid ones, and the beginning of the error
 */
export function describeOptions(
  create: (options: never) => ReplicationSource,
  valid: object,
  name: string,
  invalid: readonly (readonly [options: object, error: string])[],
): void {
  const createFrom = (options: unknown) => create(options as never)
  const common = [
    [{ name: '' }, 'name: expected a non-empty'],
    [{ name: 7 }, 'name: expected a non-empty'],
    [{ filter: 'x' }, 'filter: expected a function, got "x"'],
  ] as const

  describe('an option', () => {
    it.each([...common, ...invalid])(
      'that is invalid is refused by its name, without a password: %o',
      (options, error) => {
        expect(() => createFrom({ ...valid, ...options })).toThrow(TypeError)
        expect(() => createFrom({ ...valid, ...options })).toThrow(error)
        expect(() => createFrom({ ...valid, ...options })).not.toThrow(/secret/)
      },
    )

    it.each([undefined, null])('is needed: %s', (options) => {
      expect(() => createFrom(options)).toThrow(`options: expected an object, got ${options}`)
    })

    it('that does not exist is logged', () => {
      const log = recordDiag()
      onTestFinished(() => log.stop())
      createFrom({ ...valid, nam: 'x' })
      expect(log.messages).toEqual([
        expect.stringMatching(/^warn: .*Source: unknown option "nam" is ignored/),
      ])
    })

    it('`name` is that of the source, and can be left out', () => {
      const unset = { name: undefined, filter: undefined }
      expect(createFrom({ ...valid, ...unset }).name).toBe(name)
      expect(createFrom({ ...valid, name: 'mine' }).name).toBe('mine')
    })
  })
}
