import {
  fieldsOf,
  index,
  map,
  topicsOf,
  type Cluster,
  type Deadline,
  type KafkaClient,
  type Question,
} from './answer.js'
import { Parts } from './parts.js'
import { avoidBroker, guardConnections, type PlatformaticAdmin } from './platformatic-admin.js'
import { PlatformaticGroups } from './platformatic-groups.js'
import { PlatformaticTopics } from './platformatic-topics.js'

export class PlatformaticClient implements KafkaClient {
  private readonly brokers = new Parts<null, ReadonlySet<number>>(() => this.askBrokers())
  private readonly groups: PlatformaticGroups
  private readonly topics: PlatformaticTopics

  constructor(
    private readonly admin: PlatformaticAdmin,
    isolationLevel: 0 | 1,
  ) {
    guardConnections(admin)
    this.groups = new PlatformaticGroups(admin)
    this.topics = new PlatformaticTopics(admin, isolationLevel)
  }

  async read(question: Question, deadline: Deadline): Promise<Cluster> {
    const brokers = (await this.brokers.read(new Map([['brokers', null]]), deadline)).get('brokers')
    if (!brokers?.answer) {
      avoidBroker(this.admin)
      throw brokers?.error
    }
    // Metadata can take seconds while a partition has no leader. That must not come between the commits and the ends of logs.
    const [listFailure] = await Promise.all([
      this.groups.list(deadline),
      this.topics.readAgain(question, deadline),
    ])
    const groups = await this.groups.read(question.groups, deadline)
    const topics = await this.topics.read(topicsOf(question, groups), brokers.answer, deadline)
    return { groups, topics, listFailure: question.groups ? undefined : listFailure }
  }

  /**
   * The client connects to the brokers that it knows. It ends the process if the coordinator of a group is one that it has
   * not seen yet, so its list is renewed first.
   */
  private async askBrokers(): Promise<ReadonlySet<number>> {
    const { brokers } = fieldsOf(await this.admin.metadata({ topics: [], forceUpdate: true }))
    return new Set([...map(brokers, 'brokers').keys()].map((id) => index(id, 'broker')))
  }
}
