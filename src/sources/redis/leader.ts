import { rowsOf, type Info, type Position } from './answer.js'

/** The nodes that claim to lead, in the order of their names, and the one that does. */
export interface Election {
  readonly claims: readonly string[]
  /** It is `undefined` if no node leads, or nothing distinguishes two. */
  readonly leader: string | undefined
  /** Whether two nodes that claim to lead have equal claims. */
  readonly isTied: boolean
}

/** A node that claims to lead. */
interface Claim {
  readonly name: string
  readonly id: string | undefined
  readonly formerId: string | undefined
  /** How many of the nodes follow it, and how many replicas it sees. */
  readonly followers: number
  readonly rows: number
}

/** Remembers which node led and in which history, to distinguish a failover from a node that forgot its leader. */
export class LeaderHistory {
  private last: { readonly name: string; readonly position: Position } | undefined
  /** How often the offset has fallen in this history. */
  private falls = 0

  /** Finds the leader: the one of the nodes with the role that others follow, or that continues the last history. */
  elect(answers: ReadonlyMap<string, Info>): Election {
    const replicas = [...answers.values()].filter(({ role }) => role === 'slave')
    const followed = replicas
      .filter(({ fields }) => fields['master_link_status'] === 'up')
      .map(({ fields }) => fields['master_replid'])
    const claims = [...answers]
      .filter(([, { role }]) => role === 'master')
      .map(([name, { fields }]): Claim => {
        const { master_replid: id, master_replid2: formerId } = fields
        const followers = followed.filter((each) => each === id).length
        return { name, id, formerId, followers, rows: rowsOf(fields).length }
      })
    const [first, second] = claims
      .filter((claim) => this.isCredible(claim, followed))
      .sort((a, b) => this.compare(b, a))
    const isTied = first !== undefined && second !== undefined && this.compare(first, second) === 0
    return {
      claims: claims.map(({ name }) => name).sort(),
      leader: isTied ? undefined : first?.name,
      isTied,
    }
  }

  /** Records who leads. Returns the name of the history, which is another one after the offset has fallen. */
  record(name: string, position: Position): string {
    const last = this.last?.position
    if (last?.id !== position.id) this.falls = 0
    else if (position.offset < last.offset) this.falls++
    this.last = { name, position }
    return this.falls === 0 ? position.id : `${position.id}/${this.falls}`
  }

  /**
   * A replica that was restarted without its configuration claims to lead too. It has its own history, and no node
   * follows it.
   */
  private isCredible(claim: Claim, followed: readonly (string | undefined)[]): boolean {
    const { name, formerId, followers, rows } = claim
    if (followers > 0 || rows > 0 || this.continuesHistory(claim)) return true
    // After a restart without its data, the last leader has another history.
    return this.last ? this.last.name === name : followed.every((id) => id === formerId)
  }

  /** Whether it has the last history, or has continued that. */
  private continuesHistory({ id, formerId }: Claim): boolean {
    const last = this.last?.position.id
    return last !== undefined && (last === id || last === formerId)
  }

  /** Returns a positive number if the first one has the better claim. */
  private compare(a: Claim, b: Claim): number {
    return (
      a.followers - b.followers ||
      a.rows - b.rows ||
      Number(this.continuesHistory(a)) - Number(this.continuesHistory(b)) ||
      // The one that was promoted has continued the history of the other one.
      Number(a.formerId === b.id) - Number(b.formerId === a.id) ||
      Number(a.name === this.last?.name) - Number(b.name === this.last?.name)
    )
  }
}
