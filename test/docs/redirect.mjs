// Sends the connections of a program to the servers of a test: each host that it names to the next one, as /etc/hosts would.
import { isIP, Socket } from 'node:net'

/** @typedef {{ host?: string, port?: unknown }} Options */

const ports = (process.env['SERVER_PORTS'] ?? '').split(',').map(Number)
/** @type {Map<string, number>} */
const portOf = new Map()
const connect = /** @type {(...parameters: unknown[]) => unknown} */ (
  Reflect.get(Socket.prototype, 'connect')
)

Object.assign(Socket.prototype, {
  /** @this {Socket} @param {unknown[]} parameters */
  connect(...parameters) {
    const { options, listener } = parse(parameters)
    const { host = 'localhost' } = options
    if (host === 'localhost' || isIP(host)) return connect.apply(this, parameters)
    const port = portOf.get(host) ?? ports[portOf.size % ports.length] ?? 0
    portOf.set(host, port)
    const redirected = { ...options, host: '127.0.0.1', port }
    return connect.call(this, redirected, ...(listener ? [listener] : []))
  },
})

/**
 * All ways to call it: an array of options and listener from `net.connect`, options, or port and host.
 *
 * @param {unknown[]} parameters
 * @returns {{ options: Options, listener?: unknown }}
 */
function parse(parameters) {
  const [first, second] = parameters
  if (Array.isArray(first)) return parse(first)
  const listener = parameters.findLast((each) => typeof each === 'function')
  if (typeof first === 'object' && first !== null) return { options: first, listener }
  return { options: { port: first, ...(typeof second === 'string' && { host: second }) }, listener }
}
