import { setTimeout as sleep } from 'node:timers/promises'
import { writeUntil } from '../servers/load.mjs'
import { createPrograms, parsePage } from '../servers/monitors.mjs'
import { INCIDENTS } from './incidents.mjs'

/** @import { Gate } from '../servers/gate.mjs' */
/** @import { Monitor, Program, Series } from '../servers/monitors.mjs' */
/** @import { Servers } from '../servers/servers.mjs' */
/** @import { Knowledge, NodeState, System, SystemKind } from '../servers/system.js' */
/** @import { Call, EffectKind, Incident, Planned } from './incidents.mjs' */

/** @typedef {{ from: number, to: number }} Span in milliseconds, as all times */
/** What a node said of itself, at a moment between two times. @typedef {Omit<NodeState, 'position'> & Span & { position: number | undefined }} Sample */
/** An incident that happened: it began at some time in `from`, and ended in `to`. @typedef {{ name: string, kind: EffectKind, target: string, from: Span, to: Span }} Effect */
/** A page of metrics. @typedef {Span & { monitor: string, series: Series[], faults: string[] }} Scrape */

/** All that the oracle needs. `shown` has the names of the nodes in the metrics. @typedef {{ knows: Knowledge, shard: string, end: number, shown: Record<string, string>, samples: Record<string, Sample[]>, effects: Effect[], monitors: Monitor[], scrapes: Scrape[], logs: Record<string, { at: number, text: string }[]>, leaks: string[] }} Recording */

/** By how much more the service may have at the end than at the beginning. */
const MAY_GROW = { connections: 6, handles: 8, heapUsed: 8_000_000 }

/** A system with its monitors, its load and the truth about it. */
export class World {
  /** @type {Record<string, Gate>} */
  #ownGates = {}
  /** @type {readonly Program[]} */
  #programs = []
  /** What incidents happen to at the moment, until they end. @type {Map<string, Promise<unknown>>} */
  #busy = new Map()
  /** @type {Pick<Recording, 'samples' | 'effects' | 'scrapes'>} */
  #record = { samples: {}, effects: [], scrapes: [] }
  #open = new Set()
  #isOver = false

  /** Use {@link World.start}. @param {SystemKind} kind @param {System} system */
  constructor(kind, system) {
    this.kind = kind
    this.system = system
  }

  /** @param {Servers} servers @param {SystemKind} kind */
  static async start(servers, kind) {
    const system = await kind.start(servers)
    const world = new World(kind, system)
    // All groups of Kafka, not only some.
    let url = system.url.replace(/\?.*/, '')
    for (const [node, port] of Object.entries(system.ports ?? {})) {
      const gate = (world.#ownGates[node] = await servers.gate(port))
      url = url.replace(`:${port}`, `:${gate.port}`)
    }
    world.#programs = await createPrograms(servers.folder, { name: system.shard, url })
    servers.onStop(() => Promise.all(world.#programs.map((each) => each.stop())))
    return world
  }

  /** What passes between the monitors and each node. @returns {Readonly<Record<string, Gate>>} */
  get #gates() {
    return { ...this.#ownGates, ...this.system.gates }
  }

  /** The names of the incidents that the servers can show. */
  get incidents() {
    return Object.entries(INCIDENTS).flatMap(([name, { on, begin }]) => {
      const [target] = this.#choose(on, 0)
      return this.#find(on, target, begin) ? [name] : []
    })
  }

  /** Runs a schedule. @param {readonly Planned[]} schedule @param {number} millis @param {() => number} random @returns {Promise<Recording>} */
  async run(schedule, millis, random) {
    await Promise.all(this.#programs.map((each) => each.start()))
    const start = performance.now()
    for (const { name: target } of this.#programs) {
      const to = { from: start, to: start }
      const from = { from: 0, to: 0 }
      this.#record.effects.push({ name: 'monitor started', kind: 'paused', target, from, to })
    }
    const burst = this.kind.unit === 'bytes' ? 2000 : 200
    const writing = writeUntil(this.system, { burst, random, isOver: () => this.#isOver })
    const watching = [this.#sample(), this.#scrape(), writing]
    await sleep(6000)
    const before = await this.#measure()
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
    // All must be well again after the last incident.
    await sleep(Math.max(10_000, start + millis - performance.now()))
    const after = await this.#measure()
    this.#isOver = true
    await Promise.all(watching)
    const { system } = this
    const { effects, samples } = this.#record
    const joined = effects.flatMap(({ kind, target }) => (kind === 'joined' ? [target] : []))
    const nodes = new Set([...Object.keys(samples), ...joined])
    // Where the URL names the nodes, the metrics do too.
    const label = (/** @type {string} */ name) =>
      system.ports ? `127.0.0.1:${this.#gates[name]?.port}` : name
    const { knows = {}, shard } = system
    return {
      ...{ ...this.#record, knows, shard, end: performance.now() },
      shown: Object.fromEntries([...nodes].map((name) => [name, label(name)])),
      monitors: this.#programs.flatMap(({ monitors }) => monitors),
      logs: Object.fromEntries(this.#programs.map(({ name: program, log }) => [program, log])),
      leaks: Object.entries(MAY_GROW).flatMap(([what, most]) => {
        const [first = 0, last = 0] = [before[what], after[what]]
        return last > first + most ? [`${what} rose from ${first} to ${last}`] : []
      }),
    }
  }

  /** Begins an incident as soon as what it needs is free. @param {Planned} planned @param {Incident} incident */
  async #play({ name, pick, millis }, { on, effect: kind = 'none', begin, end }) {
    let [target, ...keys] = this.#choose(on, pick)
    for (let busy; (busy = keys.flatMap((key) => this.#busy.get(key) ?? [])).length > 0;) {
      await Promise.race(busy)
      ;[target, ...keys] = this.#choose(on, pick)
    }
    const now = performance.now()
    const from = { from: now, to: Number.MAX_VALUE }
    const to = { from: Number.MAX_VALUE, to: Number.MAX_VALUE }
    const happened = { name, kind, target, from, to }
    this.#record.effects.push(happened)
    console.log(`${(now / 1000).toFixed(1).padStart(6)} s  ${name}: ${target}`)
    const run = async () => {
      const result = await this.#find(on, target, begin)?.()
      if (kind === 'joined') happened.target = String(result)
      from.to = performance.now()
      if (end) await sleep(millis)
      to.from = performance.now()
      if (end) await this.#find(on, happened.target, end)?.()
      to.to = performance.now()
      // The sampler must have seen it before something else happens to it.
      await sleep(1000)
    }
    const ended = run().finally(() => {
      for (const key of keys) this.#busy.delete(key)
    })
    ended.catch(() => undefined)
    for (const key of keys) this.#busy.set(key, ended)
    return { ended }
  }

  /** Chooses what an incident happens to, and what nothing else may happen to meanwhile. @param {Incident['on']} on @param {number} pick @returns {[target: string, ...keys: string[]]} */
  #choose(on, pick) {
    const { system } = this
    const links = Object.keys(this.#gates)
    const nodes = ['leader', ...(system.nodes ?? [])]
    const link = links[pick % links.length] ?? ''
    const program = on === 'service' || pick % 2 === 0 ? 'service' : 'command'
    if (on === 'link') return [link, `link to ${link}`]
    if (on === 'program' || on === 'service') return [program, program]
    if (on === 'rights') return ['', 'leader']
    const all = [...nodes, ...links.map((each) => `link to ${each}`)]
    if (on === 'leader') return [system.leaderName ?? '', ...all]
    const target = on === 'follower' ? (system.followers[pick % 2] ?? '') : ''
    // Where nodes elect, one more that is missing would be one too many.
    return system.elects ? [target, ...nodes] : [target, target || 'leader']
  }

  /** Finds what a call of an incident does. @param {Incident['on']} on @param {string} target @param {Call} call */
  #find(on, target, [method, ...parameters]) {
    const program = this.#programs.find(({ name }) => name === target)
    const ofWorld = { link: this.#gates[target], program, service: program }
    const receiver = on in ofWorld ? ofWorld[/** @type {keyof typeof ofWorld} */ (on)] : this.system
    const methods = /** @type {Record<string, unknown>} */ (/** @type {unknown} */ (receiver ?? {}))
    const found = methods[method]
    if (typeof found !== 'function') return undefined
    const all = on === 'follower' || on === 'members' ? [target, ...parameters] : parameters
    return () => /** @type {unknown} */ (Reflect.apply(found, receiver, all))
  }

  /** Does each thing again and again until the end, unless it is still being done. It may fail. @param {number} millis @param {() => Map<string, () => Promise<unknown>>} list */
  async #repeat(millis, list) {
    while (!this.#isOver) {
      for (const [name, act] of list()) {
        if (this.#open.has(name)) continue
        this.#open.add(name)
        const done = () => this.#open.delete(name)
        void act().then(done, done)
      }
      await sleep(millis)
    }
  }

  #sample() {
    const sample = async (/** @type {string} */ name) => {
      const from = performance.now()
      const state = await this.system.stateOf?.(name)
      const position = state?.position === undefined ? undefined : Number(state.position)
      const samples = (this.#record.samples[name] ??= [])
      if (state) samples.push({ ...state, position, from, to: performance.now() })
    }
    return this.#repeat(150, () => {
      return new Map(this.system.nodes?.map((name) => [`sample ${name}`, () => sample(name)]))
    })
  }

  #scrape() {
    const scrape = async (/** @type {Monitor} */ { name: monitor, port }) => {
      const from = performance.now()
      const signal = AbortSignal.timeout(5000)
      const page = await fetch(`http://127.0.0.1:${port}/metrics`, { signal })
        .then((response) => response.text())
        .catch(() => '')
      this.#record.scrapes.push({ monitor, from, to: performance.now(), ...parsePage(page) })
    }
    const monitors = this.#programs.flatMap((program) => program.monitors)
    return this.#repeat(500, () => {
      return new Map(monitors.map((each) => [`scrape ${each.name}`, () => scrape(each)]))
    })
  }

  /** @returns {Promise<Record<string, number>>} */
  async #measure() {
    const connections = Object.values(this.#gates).reduce((sum, gate) => sum + gate.connections, 0)
    return { connections, ...(await this.#programs[0]?.measure()) }
  }
}
