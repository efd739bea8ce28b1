#!/usr/bin/env node
import { isSdkDisabled } from '../otel/options.js'
import { parseArguments, type Command } from './arguments.js'
import { format, look } from './once.js'
import { startReporting } from './reporting.js'
import { WatchedSource } from './watched-source.js'

// The command: polls, and reports in the terminal, to Prometheus and by OTLP. Or it reads once, for scripts.

async function run(command: Command): Promise<void> {
  if (command.do === 'print') {
    process.stdout.write(command.text)
    return
  }
  const sources = (command.options.sources ?? []).map((source) => new WatchedSource(source))
  if (command.do === 'serve') {
    await startReporting(command, sources)
    return
  }
  if (isSdkDisabled()) throw new Error('OTEL_SDK_DISABLED is set, so sources are not polled')
  const finding = await look(command.options, sources, command.maxSeconds)
  const columns = process.stdout.isTTY ? process.stdout.columns : 120
  for (const problem of finding.problems) process.stderr.write(`${problem}\n`)
  const text = format(finding, command.format, sources, columns)
  // Connections of a client may be open.
  process.stdout.write(`${text}\n`, () => process.exit(finding.problems.length > 0 ? 1 : 0))
}

async function main(): Promise<void> {
  // The reader of the output may end first, as with `| head`.
  process.stdout.on('error', () => process.exit())
  try {
    await run(parseArguments(process.argv.slice(2)))
  } catch (error) {
    process.stderr.write(`replication-lag: ${(error as Error).message}\n`)
    process.exit(2)
  }
}

void main()
