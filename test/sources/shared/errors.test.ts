import { expect, it } from 'vitest'
import { explain, type Advice } from '../../../src/sources/shared/errors.js'

const error = (code: string, message: string) => Object.assign(new Error(message), { code })

it.each([
  [error('ECONNREFUSED', 'connect ECONNREFUSED 127.0.0.1:1'), /: check host and port, and whether/],
  [new TypeError('fetch failed', { cause: error('ENOTFOUND', 'getaddrinfo') }), /host name$/],
  [error('ERR_TLS_CERT_ALTNAME_INVALID', "Host: a. is not in the cert's altnames"), /another host/],
  [error('CERT_HAS_EXPIRED', 'certificate has expired'), /: renew the server's certificate/],
  [error('CERT_NOT_YET_VALID', 'certificate is not yet valid'), /: check the clocks$/],
  [error('DEPTH_ZERO_SELF_SIGNED_CERT', 'self-signed certificate'), /: set NODE_EXTRA_CA_CERTS/],
  [error('UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'unable to verify'), /: set NODE_EXTRA_CA_CERTS/],
  [error('ERR_SSL_WRONG_VERSION_NUMBER', 'ssl'), /: check whether the port expects TLS$/],
  [error('ECONNRESET', 'socket hang up'), /: check the server, and whether it expects TLS$/],
  [error('EHOSTUNREACH', 'connect'), /: check host, port, network, firewall and server$/],
  [new Error('no answer in time'), /: check host, port, network, firewall and server$/],
  [new Error('something else'), /^etcd: something else$/],
])('an error gets advice: %s', (given, expected) => {
  expect(explain('etcd', given).message).toMatch(expected)
})

it('says where, what, and what to do, and keeps the code and the hint of the server', () => {
  // It comes before what all systems share.
  const advice: Advice = [[/42501/, 'grant pg_monitor to the role']]
  const denied = Object.assign(error('42501', 'ECONNREFUSED'), { hint: 'Ask\n someone.' })
  const explained = explain('PostgreSQL at db:5432', denied, advice)
  expect(explained.message).toBe(
    'PostgreSQL at db:5432: 42501: ECONNREFUSED: grant pg_monitor to the role (HINT: Ask someone.)',
  )
  expect(explained).toMatchObject({ code: '42501' })
})

it.each([undefined, null, 7, 'closed', { code: 7, hint: 7 }])('explains %s', (thrown) => {
  const explained = explain('Redis', thrown)
  expect(explained.message).toMatch(/^Redis: ./)
  expect(explained).not.toHaveProperty('code')
})
