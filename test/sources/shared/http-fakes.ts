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
