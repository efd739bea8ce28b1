import type { IncomingMessage } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { gunzipSync } from 'node:zlib'
import { listen } from './http.js'
import { decodeJson, decodeProtobuf, type OtlpPoint } from './otlp-metrics.js'

export type { OtlpPoint } from './otlp-metrics.js'

/** One export. */
export interface OtlpRequest {
  readonly contentType: 'application/json' | 'application/x-protobuf'
  readonly encoding: 'gzip' | 'identity'
  readonly points: readonly OtlpPoint[]
}

/** An OTLP/HTTP metrics backend that accepts valid exports and answers 4xx to anything else. */
export interface OtlpReceiver {
  /** For an exporter's `url` option. */
  readonly url: string
  /** The accepted exports, in order of arrival. */
  readonly requests: readonly OtlpRequest[]
  /** Why other exports were refused. */
  readonly refusals: readonly string[]
  /** All points of a metric that were received, in order of arrival. */
  readonly points: (metric: string) => OtlpPoint[]
  /**
   * Returns the first request, already received or still to come, for which the predicate holds.
   * Rejects when a request was refused, because the exporter is broken then, and when the receiver is closed.
   */
  readonly waitFor: (predicate: (request: OtlpRequest) => boolean) => Promise<OtlpRequest>
  readonly close: () => Promise<void>
}

/** Why a request is refused. */
class Refusal extends Error {
  readonly status: number

  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

export async function startOtlpReceiver(): Promise<OtlpReceiver> {
  const requests: OtlpRequest[] = []
  const refusals: string[] = []
  const waiting = new Set<() => void>()
  let closed = false
  const changed = () => {
    for (const check of waiting) check()
  }
  const server = await listen((request, response) => {
    receive(request).then(
      (received) => {
        requests.push(received)
        response.setHeader('content-type', received.contentType)
        // An empty ExportMetricsServiceResponse: everything was accepted.
        response.end(received.contentType === 'application/json' ? '{}' : undefined)
        changed()
      },
      (error: unknown) => {
        const reason = error instanceof Error ? error.message : String(error)
        refusals.push(reason)
        response.writeHead(error instanceof Refusal ? error.status : 400).end(reason)
        changed()
      },
    )
  })
  return {
    url: `${server.url}/v1/metrics`,
    requests,
    refusals,
    points: (metric) =>
      requests.flatMap(({ points }) => points.filter((point) => point.metric === metric)),
    waitFor: (predicate) =>
      new Promise((resolve, reject) => {
        const check = () => {
          const found = requests.find(predicate)
          if (!found && refusals.length === 0 && !closed) return
          waiting.delete(check)
          if (found) resolve(found)
          else reject(new Error(refusals[0] ?? 'the receiver is closed'))
        }
        waiting.add(check)
        check()
      }),
    async close() {
      closed = true
      changed()
      await server.close()
    },
  }
}

async function receive(request: IncomingMessage): Promise<OtlpRequest> {
  // Read the whole body first. An exporter that is answered earlier may see a broken connection instead.
  const body = await buffer(request)
  if (request.url !== '/v1/metrics') throw new Refusal(404, `no such path: ${request.url}`)
  if (request.method !== 'POST') throw new Refusal(405, `expected POST, got ${request.method}`)
  const contentType = request.headers['content-type']?.split(';')[0]
  if (contentType !== 'application/json' && contentType !== 'application/x-protobuf') {
    throw new Refusal(415, `content-type: expected JSON or protobuf, got ${contentType}`)
  }
  const encoding = request.headers['content-encoding'] ?? 'identity'
  if (encoding !== 'gzip' && encoding !== 'identity') {
    throw new Refusal(415, `content-encoding: expected gzip or none, got ${encoding}`)
  }
  const plain = encoding === 'gzip' ? gunzipSync(body) : body
  const points =
    contentType === 'application/json' ? decodeJson(plain.toString()) : decodeProtobuf(plain)
  return { contentType, encoding, points }
}
