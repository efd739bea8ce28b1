import { setTimeout as sleep } from 'node:timers/promises'
import { writeUntil } from '../servers/load.mjs'
import { createMonitors, grown, scrape } from '../servers/monitors.mjs'
import { INCIDENTS } from './incidents.mjs'

/** @import { Gate } from '../servers/gate.mjs' */
/** @import { Monitor, Series } from '../servers/monitors.mjs' */
/** @import { Servers } from '../servers/servers.mjs' */
/** @import { Knowledge, NodeState, System, SystemKind } from '../servers/system.js' */
/** @import { Span } from '../support/spans.mjs' */
/** @import { Call, EffectKind, Incident, Planned, Subject } from './incidents.mjs' */

/** What a node said of itself, at a moment between two times. @typedef {Omit<NodeState, 'position'> & Span & { position: number | undefined }} Sample */
/** An incident that happened: it began at some time in `from`, and ended in `to`. @typedef {{ name: string, kind: EffectKind, target: string, from: Span, to: Span }} Effect */
/** A page of metrics. @typedef {Span & { monitor: string, series: Series[], faults: string[] }} Scrape */

/** All that the oracle needs. `shown` has the names of the nodes in the metrics. @typedef {{ knows: Knowledge, shard: string, start: number, end: number, shown: Record<string, string>, samples: Record<string, Sample[]>, effects: Effect[], monitors: Monitor[], scrapes: Scrape[], logs: Record<string, { at: number, text: string }[]>, faults: string[] }} Recording */

/** A system with its monitors, its load and the truth about it. */
export class World {
  /** @type {Awaited<ReturnType<typeof createMonitors>>} */
  #monitors
  /** What incidents happen to at the moment, until they end. @type {Map<string, Promise<unknown>>} */
  #busy = new Map()
  /** @type {Pick<Recording, 'start' | 'samples' | 'effects' | 'scrapes'>} */
  #record = { start: 0, samples: {}, effects: [], scrapes: [] }
  /** What is wrong with the service, or with an incident. @type {string[]} */
  #faults = []
  #isOver = false

  /** Use {@link World.start}. @param {SystemKind} kind @param {System} system @param {Awaited<ReturnType<typeof createMonitors>>} monitors */
  constructor(kind, system, monitors) {
    this.kind = kind
    this.system = system
    this.#monitors = monitors
  }

  /** @param {Servers} servers @param {SystemKind} kind */
  static async start(servers, kind) {
    const system = await kind.start(servers)
    return new World(kind, system, await createMonitors(servers, system))
  }

  /** What passes between the monitors and each node. @returns {Readonly<Record<string, Gate>>} */
  get #gates() {
    return { ...this.#monitors.gates, ...this.system.gates }
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
    await Promise.all(this.#monitors.programs.map((each) => each.start()))
    const start = (this.#record.start = performance.now())
    const burst = this.kind.unit === 'bytes' ? 2000 : 200
    const writing = writeUntil(this.system, { burst, random, isOver: () => this.#isOver })
    const watching = this.#watch()
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
    await Promise.all([writing, ...watching])
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
      monitors: this.#monitors.programs.flatMap(({ monitors }) => monitors),
      logs: Object.fromEntries(
        this.#monitors.programs.map(({ name: program, log }) => [program, log]),
      ),
      faults: [...this.#faults, ...grown(before, after)],
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
    const happened = { name, kind, target, from, to }
    this.#record.effects.push(happened)
    const seconds = ((now - this.#record.start) / 1000).toFixed(1)
    console.log(`${seconds.padStart(6)} s  ${name}: ${target}`)
    const run = async () => {
      const result = await this.#find(on, target, begin)?.()
      if (kind === 'joined') happened.target = String(result)
      if (kind === 'refused') this.#breakConnections()
      from.to = performance.now()
      if (end) await sleep(millis)
      to.from = performance.now()
      if (end) await this.#find(on, happened.target, end)?.()
      // In MariaDB, a privilege applies to new connections only. Followers get it a moment later.
      if (kind === 'denied') await sleep(500).then(() => this.#breakConnections())
      to.to = performance.now()
      // The sampler must have seen it before something else happens to it.
      await sleep(1000)
    }
    const failed = (/** @type {unknown} */ error) => this.#faults.push(`${name}: ${String(error)}`)
    const ended = run()
      .catch(failed)
      .finally(() => {
        for (const key of keys) this.#busy.delete(key)
      })
    for (const key of keys) this.#busy.set(key, ended)
    return { ended }
  }

  #breakConnections() {
    for (const gate of Object.values(this.#gates)) gate.breakConnections()
  }

  /** Chooses what an incident happens to, and what nothing else may happen to meanwhile. @param {Subject} on @param {number} pick @returns {[target: string, ...keys: string[]]} */
  #choose(on, pick) {
    const { system } = this
    const links = Object.keys(this.#gates)
    const nodes = ['leader', ...(system.nodes ?? [])]
    const link = links[pick % links.length] ?? ''
    const program = on === 'service' || pick % 2 === 0 ? 'service' : 'command'
    if (on === 'link') return [link, `link to ${link}`]
    if (on === 'program' || on === 'service') return [program, program]
    // Where users exist on each node, one that is killed meanwhile can lose them.
    if (on === 'rights') return ['', 'leader', ...(system.ports ? nodes : [])]
    const all = [...nodes, ...links.map((each) => `link to ${each}`)]
    if (on === 'leader') return [system.leaderName ?? '', ...all]
    const target = on === 'follower' ? (system.followers[pick % 2] ?? '') : ''
    // Where nodes elect, one more that is missing would be one too many.
    return system.elects ? [target, ...nodes] : [target, target || 'leader']
  }

  /** Finds what a call of an incident does. @param {Subject} on @param {string} target @param {Call} call */
  #find(on, target, [method, ...parameters]) {
    const program = this.#monitors.programs.find(({ name }) => name === target)
    const ofWorld = { link: this.#gates[target], program, service: program }
    const receiver = on in ofWorld ? ofWorld[/** @type {keyof typeof ofWorld} */ (on)] : this.system
    const methods = /** @type {Record<string, unknown>} */ (/** @type {unknown} */ (receiver ?? {}))
    const found = methods[method]
    if (typeof found !== 'function') return undefined
    const all = on === 'follower' || on === 'members' ? [target, ...parameters] : parameters
    return () => /** @type {unknown} */ (Reflect.apply(found, receiver, all))
  }

  /** Does each thing again and again until the end, unless it is still being done. It may fail. @template T @param {number} millis @param {() => readonly T[]} list @param {(each: T) => Promise<unknown>} act */
  async #repeat(millis, list, act) {
    const open = new Set()
    while (!this.#isOver) {
      for (const each of list()) {
        if (open.has(each)) continue
        open.add(each)
        const done = () => open.delete(each)
        void act(each).then(done, done)
      }
      await sleep(millis)
    }
  }

  /** Samples the truth, and reads what the monitors show. */
  #watch() {
    const sample = async (/** @type {string} */ name) => {
      const from = performance.now()
      const state = await this.system.stateOf?.(name)
      const position = state?.position === undefined ? undefined : Number(state.position)
      const samples = (this.#record.samples[name] ??= [])
      if (state) samples.push({ ...state, position, from, to: performance.now() })
    }
    const read = async (/** @type {Monitor} */ monitor) => {
      const from = performance.now()
      const page = await scrape(monitor)
      this.#record.scrapes.push({ monitor: monitor.name, from, to: performance.now(), ...page })
    }
    const monitors = this.#monitors.programs.flatMap((program) => program.monitors)
    return [
      this.#repeat(150, () => this.system.nodes ?? [], sample),
      this.#repeat(500, () => monitors, read),
    ]
  }

  /** @returns {Promise<Record<string, number>>} */
  async #measure() {
    const connections = Object.values(this.#gates).reduce((sum, gate) => sum + gate.connections, 0)
    return { connections, ...(await this.#monitors.programs[0]?.measure()) }
  }
}
