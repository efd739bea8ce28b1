import type { Advice } from '../shared/errors.js'

/** What to do about errors of etcd. */
export const ADVICE: Advice = [
  [/not supported for learner/, 'it is a learner. Give the URL of a member that votes'],
  [
    /user name is empty|invalid auth token/,
    'authentication is on. Pass a fetch that adds the token of a user as the Authorization header',
  ],
  [
    /status (404|415),/,
    'it has no JSON gateway. Give a client URL, not a peer URL, and leave --enable-grpc-gateway on',
  ],
  [
    /Expected HTTP\//,
    'this port answers gRPC only. Give the URL of --listen-client-http-urls, or do not set that flag',
  ],
  [
    /status 503, "(connection closed|.*(broken pipe|bad certificate|handshake))/,
    'its gateway cannot connect to itself. With --client-cert-auth, its certificate must allow clientAuth too',
  ],
  [
    /other side closed|hang up|certificate.?required|bad.?certificate/i,
    'check whether the server expects TLS or a client certificate, which a fetch can send',
  ],
  [
    /not JSON|field header is missing/,
    'this is not an etcd server. Give the client URL of a member',
  ],
]
