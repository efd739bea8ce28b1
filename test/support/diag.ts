import { diag, DiagLogLevel, type DiagLogger } from '@opentelemetry/api'

/** What was logged through `diag`, at every level, as `level: message`. */
export interface DiagRecorder {
  readonly messages: string[]
  /** Makes the logger throw this, after it has recorded the message. */
  failWith(error: Error): void
  /** Returns the messages that contain all of these. */
  matching(...parts: string[]): string[]
  stop(): void
}

/** Replaces the application's diag logger until `stop`. */
export function recordDiag(): DiagRecorder {
  const messages: string[] = []
  let failure: Error | undefined
  const record =
    (level: string) =>
    (...words: unknown[]) => {
      messages.push(`${level}: ${words.map(String).join(' ')}`)
      if (failure) throw failure
    }
  const logger: DiagLogger = {
    error: record('error'),
    warn: record('warn'),
    info: record('info'),
    debug: record('debug'),
    verbose: record('verbose'),
  }
  diag.setLogger(logger, { logLevel: DiagLogLevel.ALL, suppressOverrideMessage: true })
  messages.length = 0
  return {
    messages,
    failWith: (error) => {
      failure = error
    },
    matching: (...parts) => messages.filter((message) => parts.every((p) => message.includes(p))),
    stop: () => {
      failure = undefined
      diag.disable()
    },
  }
}
