import { setTimeout as sleep } from 'node:timers/promises'
import { repeat, writeUntil } from '../servers/load.mjs'
import { Program, scrape } from '../servers/monitors.mjs'
import { INCIDENTS } from './incidents.mjs'

/** @import { Gate } from '../servers/gate.mjs' */
/** @import { Monitor, Series } from '../servers/monitors.mjs' */
/** @import { Knowledge, NodeState, System, SystemKind } from '../servers/system.js' */
/** @import { Span } from '../support/spans.mjs' */
/** @import { Call, EffectKind, Incident, Planned, Subject } from './incidents.mjs' */

/** What a node said of itself, at a moment between two times. @typedef {Omit<NodeState, 'position' | 'received'> & Span & { position: number | undefined, received: number | undefined }} Sample */
/** An incident that happened: it began at some time in `from`, and ended in `to`. @typedef {{ name: string, kind: EffectKind, target: string, from: Span, to: Span }} Effect */
/** A page of metrics. @typedef {Span & { monitor: string, series: Series[], faults: string[] }} Scrape */

/** All that the oracle needs. `shown` has the names of the nodes in the metrics, `origin` is when all times were 0. @typedef {{ knows: Knowledge, shard: string, origin: number, start: number, end: number, shown: Record<string, string>, samples: Record<string, Sample[]>, effects: Effect[], monitors: Monitor[], scrapes: Scrape[], logs: Record<string, { at: number, text: string }[]>, faults: string[] }} Recording */

/** A system with its monitors, its load and the truth about it. */
export class World {
  /** How often nodes and monitors are read. */
  pause = { sample: 150, page: 500 }
  /** Its shard and its source, where the programs monitor others too. */
  own = /./
  /** What incidents happen to at the moment, until they end. @type {Map<string, Promise<unknown>>} */
  #busy = new Map()
  /** @type {Pick<Recording, 'start' | 'samples' | 'effects' | 'scrapes'>} */
  #record = { start: 0, samples: {}, effects: [], scrapes: [] }
  /** What is wrong with the service, or with an incident. @type {string[]} */
  #faults = []
  #isOver = false

  /** @param {SystemKind} kind @param {System} system @param {string} shard the name of its only one in the metrics @param {readonly Program[]} programs that monitor it @param {Readonly<Record<string, Gate>>} [gates] what passes between these and each node, if it has none itself */
  constructor(kind, system, shard, programs, gates) {
    this.kind = kind
    this.system = system
    this.shard = shard
    this.programs = programs
    this.monitors = programs.flatMap(({ monitors }) => monitors)
    this.ownGates = gates
  }

  /** What passes between the monitors and each node. @returns {Readonly<Record<string, Gate>>} */
  get #gates() {
    return { ...this.ownGates, ...this.system.gates }
  }

  get connections() {
    return Object.values(this.#gates).reduce((sum, gate) => sum + gate.connections, 0)
  }

  /** @returns {Promise<Record<string, number>>} */
  async measure() {
    return { connections: this.connections, ...(await this.programs[0]?.measure()) }
  }

  /** The names of the incidents that the servers can show. */
  get incidents() {
    return Object.entries(INCIDENTS).flatMap(([name, [on, , begin]]) => {
      const [target] = this.#choose(on, 0)
      return this.#find(on, target, begin) ? [name] : []
    })
  }

  /** Runs a schedule. @param {readonly Planned[]} schedule @param {number} millis @param {() => number} random @returns {Promise<Recording>} */
  async run(schedule, millis, random) {
    const start = (this.#record.start = performance.now())
    const burst = this.kind.unit === 'bytes' ? 2000 : 200
    const writing = writeUntil(this.system, { burst, random, isOver: () => this.#isOver })
    const watching = this.#watch()
    /** @type {Promise<unknown>[]} */
    const ends = []
    for (const planned of schedule) {
      // Incidents may have had to wait for each other.
      if (performance.now() > start + millis - 10_000) break
      await sleep(Math.max(0, start + planned.at - performance.now()))
      const incident = INCIDENTS[planned.name]
      if (incident) ends.push((await this.#play(planned, incident)).ended)
    }
    await Promise.all(ends)
    await sleep(Math.max(10_000, start + millis - performance.now()))
    this.#isOver = true
    await Promise.all([writing, ...watching])
    const { system, shard } = this
    const { effects, samples } = this.#record
    const joined = effects.flatMap(({ kind, target }) => (kind === 'joined' ? [target] : []))
    const nodes = new Set([...Object.keys(samples), ...joined])
    // Where the URL names the nodes, the metrics do too.
    const label = (/** @type {string} */ name) =>
      system.ports ? `127.0.0.1:${this.#gates[name]?.port}` : name
    const programs = this.programs.filter((each) => each instanceof Program)
    const isOwn = (/** @type {{ text: string }} */ { text }) =>
      this.own.test(text) || !text.includes('source "')
    return {
      ...{ ...this.#record, shard, knows: system.knows ?? {}, monitors: this.monitors },
      ...{ origin: performance.timeOrigin, end: performance.now(), faults: this.#faults },
      shown: Object.fromEntries([...nodes].map((name) => [name, label(name)])),
      logs: Object.fromEntries(programs.map(({ name, log }) => [name, log.filter(isOwn)])),
    }
  }

  /** Begins an incident as soon as what it needs is free. @param {Planned} planned @param {Incident} incident */
  async #play({ name, pick, millis }, [on, kind, begin, end]) {
    let [target, ...keys] = this.#choose(on, pick)
    for (let busy; (busy = keys.flatMap((key) => this.#busy.get(key) ?? [])).length > 0;) {
      await Promise.race(busy)
      ;[target, ...keys] = this.#choose(on, pick)
    }
    const now = performance.now()
    const from = { from: now, to: Number.MAX_VALUE }
    const to = { from: Number.MAX_VALUE, to: Number.MAX_VALUE }
    /** @type {Effect} */
    const happened = { name, kind, target, from, to }
    this.#record.effects.push(happened)
    if (on === 'name') this.#record.effects.push({ ...happened, kind: 'left' })
    const seconds = ((now - this.#record.start) / 1000).toFixed(1)
    console.log(`${seconds.padStart(6)} s  ${this.kind.title}: ${name} ${target}`)
    const run = async () => {
      const result = await this.#find(on, target, begin)?.()
      if (kind === 'joined') happened.target = String(result)
      if (/denied|refused/.test(kind)) await this.#breakConnections()
      from.to = performance.now()
      if (end) await sleep(millis)
      to.from = performance.now()
      if (end) await this.#find(on, happened.target, end)?.()
      if (kind === 'denied') await this.#breakConnections()
      to.to = performance.now()
      // The sampler must have seen it before something else happens to it.
      await sleep(1000)
    }
    const ended = run()
      .catch((/** @type {unknown} */ error) => this.#faults.push(`${name}: ${String(error)}`))
      .finally(() => keys.forEach((key) => this.#busy.delete(key)))
    for (const key of keys) this.#busy.set(key, ended)
    return { ended }
  }

  async #breakConnections() {
    // In MariaDB, a privilege applies to new connections only. Followers get it a moment later.
    await sleep(500)
    for (const gate of Object.values(this.#gates)) gate.breakConnections()
  }

  /** Chooses what an incident happens to, and what nothing else may happen to meanwhile. @param {Subject} on @param {number} pick @returns {[target: string, ...keys: string[]]} */
  #choose(on, pick) {
    const { system } = this
    const links = Object.keys(this.#gates)
    const nodes = ['leader', ...(system.nodes ?? [])]
    const link = links[pick % links.length] ?? ''
    const program = pick % 2 === 0 ? 'service' : 'command'
    if (on === 'link') return [link, `link to ${link}`]
    if (on === 'program') return [program, program]
    // Where users exist on each node, one that is killed meanwhile can lose them.
    if (on === 'rights') return ['', 'leader', ...(system.ports ? nodes : [])]
    const all = [...nodes, ...links.map((each) => `link to ${each}`)]
    if (on === 'leader') return [system.leaderName ?? '', ...all]
    const target = on === 'members' ? '' : (system.followers[pick % 2] ?? '')
    if (on === 'name') return [target, ...all]
    // Where nodes elect, one more that is missing would be one too many.
    return system.elects ? [target, ...nodes] : [target, target || 'leader']
  }

  /** Finds what a call of an incident does. @param {Subject} on @param {string} target @param {Call} call */
  #find(on, target, [method, ...parameters]) {
    const program = this.programs.find(({ name }) => name === target)
    const ofWorld = { link: this.#gates[target], program }
    const receiver = on in ofWorld ? ofWorld[/** @type {keyof typeof ofWorld} */ (on)] : this.system
    const methods = /** @type {Record<string, unknown>} */ (/** @type {unknown} */ (receiver ?? {}))
    const found = methods[method]
    if (typeof found !== 'function') return undefined
    const all = /follower|members|name/.test(on) ? [target, ...parameters] : parameters
    return () => /** @type {unknown} */ (Reflect.apply(found, receiver, all))
  }

  /** Samples the truth, and reads what the monitors show. */
  #watch() {
    const sample = async (/** @type {string} */ name) => {
      const from = performance.now()
      const state = await this.system.stateOf?.(name)
      if (!state) return
      const toNumber = (/** @type {bigint | undefined} */ seqno) =>
        seqno === undefined ? undefined : Number(seqno)
      const own = { position: toNumber(state.position), received: toNumber(state.received) }
      const samples = (this.#record.samples[name] ??= [])
      samples.push({ ...state, ...own, from, to: performance.now() })
    }
    const read = async (/** @type {Monitor} */ monitor) => {
      const from = performance.now()
      const { faults, ...page } = await scrape(monitor)
      const series = page.series.filter(({ source, shard }) => this.own.test(`${source ?? shard}`))
      const to = performance.now()
      this.#record.scrapes.push({ monitor: monitor.name, from, to, series, faults })
    }
    const isOver = () => this.#isOver
    const nodes = () => this.system.nodes ?? []
    return [
      repeat({ millis: this.pause.sample, list: nodes, act: sample, isOver }),
      repeat({ millis: this.pause.page, list: () => this.monitors, act: read, isOver }),
    ]
  }
}
