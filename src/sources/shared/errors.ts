import { describeError } from '../../support/log.js'

/** Advice for an error, matched against its description. The first that matches. */
export type Advice = readonly (readonly [pattern: RegExp, advice: string])[]

/** What to do about errors of the network and of TLS, which every client passes on. */
const COMMON: Advice = [
  [/ECONNREFUSED/, 'check host and port, and whether the server runs'],
  [/ENOTFOUND|EAI_AGAIN/, 'check the host name'],
  [
    /ALTNAME_INVALID/,
    'the certificate is for another host: use a name that is in it, or check which server answers',
  ],
  [/CERT_HAS_EXPIRED|certificate has expired/, "renew the server's certificate"],
  [/CERT_NOT_YET_VALID/, 'the certificate is not valid yet: check the clocks'],
  [
    /SELF_SIGNED|self.signed|UNABLE_TO_(VERIFY|GET)|unable to (verify|get)|CERT_UNTRUSTED/,
    'the certificate is not trusted: set NODE_EXTRA_CA_CERTS to the file of its authority, or pass that to the client',
  ],
  [/WRONG_VERSION_NUMBER|wrong version number|EPROTO/, 'check whether the port expects TLS'],
  [/ECONNRESET|EPIPE|hang up|other side closed/, 'check the server, and whether it expects TLS'],
  [/ETIMEDOUT|UNREACH|timed? ?out|no answer/i, 'check host, port, network, firewall and server'],
]

/** Adds the first advice that matches to a description. */
export function withAdvice(description: string, advice: Advice = []): string {
  const found = [...advice, ...COMMON].find(([pattern]) => pattern.test(description))
  return found ? `${description}: ${found[1]}` : description
}

/**
 * Returns an error that says where something happened, what happened and what to do. It keeps the code of the error, and
 * the hint of the server.
 *
 * @param advice comes before the advice that all systems share.
 */
export function explain(where: string, error: unknown, advice: Advice = []): Error {
  const { code, hint } = (error ?? {}) as Partial<Record<string, unknown>>
  const shown = typeof hint === 'string' ? ` (HINT: ${describeError(new Error(hint))})` : ''
  const message = `${where}: ${withAdvice(describeError(error), advice)}${shown}`
  return Object.assign(new Error(message), typeof code === 'string' && { code })
}
