import type { Advice } from '../shared/errors.js'

export const NO_LEADER =
  'it has no leader: most of the servers that hold it must be up and connected'
export const AHEAD = 'it has messages that the leader does not have: they have diverged'
export const OLD_UPSTREAM = 'its upstream was recreated, and it still has messages of the old one'
export const NOT_A_SERVER = 'no server of this name is among the monitoring URLs'
export const NAMESAKE =
  'is also the name of another server: give each server its own server_name in its configuration'
/** Names what servers that cannot be read hold. The names of streams have no spaces. */
export const SERVERS = 'servers of JetStream'
export const NO_STREAM = 'JetStream has none of the configured streams'
export const NOT_ENABLED =
  'JetStream is not enabled on these servers. Enable it in their configuration, or give the URLs of servers that have it'
export const NOT_RUNNING =
  'JetStream is enabled in the configuration of this server, but does not run. Its log says why'
export const BALANCED =
  'different servers answer in turn. Give the monitoring URL of each server, and not that of a load balancer'

const MONITORING =
  'give the monitoring port of the server, `http_port` in its configuration, usually 8222'

export const ADVICE: Advice = [
  [/HTTPS server/, 'this port is for https: begin the URL with https://'],
  [/does not match the HTTP|HPE_|Parse Error/, `this is not a port for HTTP: ${MONITORING}`],
  [/not JSON|status 404|field server_/, `this is not a NATS monitoring port: ${MONITORING}`],
]
