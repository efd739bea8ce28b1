import { hasMethods } from '../../support/option-errors.js'

/** What is used of an `Admin` of `@platformatic/kafka`, 1.35 or newer. */
export interface PlatformaticAdmin {
  metadata(question: { topics: string[]; forceUpdate: boolean }): Promise<unknown>
  listConsumerGroupOffsets(question: { groups: string[] }): Promise<unknown>
  listOffsets(question: {
    topics: { name: string; partitions: { partitionIndex: number; timestamp: bigint }[] }[]
    isolationLevel: 0 | 1
  }): Promise<unknown>
  connectToBrokers(ids: number[]): Promise<unknown>
  listGroups?(question: { types: string[] }): Promise<unknown>
  findCoordinator?(question: { keyType: 0; keys: string[] }): Promise<unknown>
  readonly currentMetadata?: { readonly topics: Map<string, object | undefined> } | undefined
}

export function isPlatformatic(admin: unknown): admin is PlatformaticAdmin {
  const methods = ['listConsumerGroupOffsets', 'listOffsets', 'metadata', 'connectToBrokers']
  return hasMethods(admin, ...methods)
}
