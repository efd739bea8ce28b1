// Loaded into a program before its own code, with `--import`. The chaos runner then stalls it, moves its clock, and measures it.

const { now } = Date
let movedMillis = 0
Date.now = () => now() + movedMillis

process.on('message', (/** @type {{ stall?: number, clock?: number, measure?: true }} */ order) => {
  movedMillis = order.clock ?? movedMillis
  const end = performance.now() + (order.stall ?? 0)
  while (performance.now() < end);
  if (!order.measure) return
  globalThis.gc?.()
  const { heapUsed, rss } = process.memoryUsage()
  const { user, system } = process.cpuUsage()
  const handles = process.getActiveResourcesInfo().length
  process.send?.({ heapUsed, rss, handles, cpu: (user + system) / 1000 })
})
