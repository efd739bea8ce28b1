import type { KafkajsAdmin } from './clients.js'

/**
 * Returns a client that stays disconnected. A call of `kafkajs` that is under way while the client disconnects connects again
 * when its broker answers, and that connection would stay open: so the client is disconnected again after the last call.
 */
export function endAfterCalls(admin: KafkajsAdmin): KafkajsAdmin {
  let open = 0
  let isEnded = false
  const end = () => admin.disconnect?.().catch(() => undefined)
  return new Proxy(admin, {
    get(target, name: keyof KafkajsAdmin) {
      const method: unknown = Reflect.get(target, name)
      if (typeof method !== 'function') return method
      return async (...parameters: unknown[]) => {
        if (name === 'disconnect') isEnded = true
        if (name === 'connect') isEnded = false
        open++
        try {
          return (await Reflect.apply(method, target, parameters)) as unknown
        } finally {
          open--
          if (open === 0 && isEnded && name !== 'disconnect') void end()
        }
      }
    },
  })
}
