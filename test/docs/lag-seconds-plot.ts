import { SCENARIOS } from '../support/replication-scenarios.js'
import { simulate, type Observation, type Scenario } from '../support/replication-simulation.js'

interface Panel {
  readonly title: string
  readonly scenario: Scenario
  /** What happens, and at which minute. */
  readonly events: readonly (readonly [minute: number, event: string])[]
}

const PANELS: readonly Panel[] = [
  {
    title: 'Stalled and resumed',
    scenario: SCENARIOS['a follower stalled and resumed'],
    events: [
      [5, 'follower stalls'],
      [25, 'resumes'],
    ],
  },
  { title: 'A leader that writes in bursts', scenario: SCENARIOS.bursty, events: [] },
  {
    title: 'Idle, then a burst',
    scenario: SCENARIOS['idle, then a burst'],
    events: [
      [10, 'burst'],
      [30, 'burst'],
      [50, 'burst'],
    ],
  },
  {
    title: 'Replaced by an older copy',
    scenario: SCENARIOS['a follower re-seeded'],
    events: [[15, 'replaced']],
  },
]

const PANEL = { width: 366, height: 168 }
const MARGIN = { left: 62, top: 124, right: 36, bottom: 40 }
const GAP = { x: 70, y: 114 }
const WIDTH = MARGIN.left + 2 * PANEL.width + GAP.x + MARGIN.right
const HEIGHT = MARGIN.top + 2 * PANEL.height + GAP.y + MARGIN.bottom

/** The picture has a background, so that it looks the same on light and dark pages. */
const COLORS = {
  card: '#ffffff',
  border: '#d1d9e0',
  grid: '#eaeef2',
  text: '#1f2328',
  muted: '#59636e',
  truth: '#a8d1ff',
  estimate: '#0a3069',
  lowerBound: '#d1500a',
}
const FONTS = `-apple-system, 'Segoe UI', 'Noto Sans', Helvetica, Arial, 'DejaVu Sans', sans-serif`

/** An observation in which the lag is known. */
type Known = Pick<Observation, 'at' | 'truth' | 'isForgotten'> & { readonly seconds: number }

type Point = readonly [x: number, y: number]

/** Returns the plot of truth and estimate in four of the simulated cases. The same code makes the same text. */
export function plotLagSeconds(): string {
  const title = 'Lag in seconds in four simulated cases: the estimate lies on the truth'
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img">`,
    `<title>${title}</title>`,
    `<rect x=".5" y=".5" width="${WIDTH - 1}" height="${HEIGHT - 1}" rx="10" fill="${COLORS.card}" stroke="${COLORS.border}"/>`,
    `<g font-family="${FONTS}" font-size="12" fill="${COLORS.muted}">`,
    ...drawLegend(),
    ...PANELS.flatMap((panel, index) => {
      const x = MARGIN.left + (index % 2) * (PANEL.width + GAP.x)
      const y = MARGIN.top + Math.floor(index / 2) * (PANEL.height + GAP.y)
      return [`<g transform="translate(${x} ${y})">`, ...drawPanel(panel), '</g>']
    }),
    '</g>',
    '</svg>',
    '',
  ].join('\n')
}

function drawLegend(): string[] {
  const entries: [label: string, path: string][] = [
    ['true age of the oldest entry not applied', stroke(COLORS.truth, 7)],
    ['estimate', stroke(COLORS.estimate, 1.6)],
    ['estimate: at least this old', stroke(COLORS.lowerBound, 1.6, '5 3')],
  ]
  let x = MARGIN.left
  return entries.flatMap(([label, style]) => {
    const at = x
    x += 46 + label.length * 6
    return [
      `<path d="M${at} 32h24" ${style}/>`,
      `<text x="${at + 32}" y="36" fill="${COLORS.text}">${label}</text>`,
    ]
  })
}

function drawPanel({ title, scenario, events }: Panel): string[] {
  const observed: Known[] = simulate(scenario).flatMap(({ follower, seconds, ...rest }) =>
    follower === 0 && seconds !== undefined ? [{ ...rest, seconds }] : [],
  )
  const minutes = scenario.duration / 60_000
  const highest = Math.max(...observed.map(({ truth }) => truth)) / 60
  const step = [1, 2, 5].find((step) => highest / step <= 5) ?? 10
  const top = Math.ceil(highest / step) * step
  const toX = (minute: number) => (minute / minutes) * PANEL.width
  const toY = (minute: number) => PANEL.height * (1 - minute / top)
  const line = (pick: (point: Known) => number, of = observed) =>
    toPath(of.map((each) => [toX(each.at / 60_000), toY(pick(each) / 60)]))

  const marks = (to: number, step: number) =>
    Array.from({ length: Math.floor(to / step) + 1 }, (_, index) => index * step)
  return [
    `<text y="-46" font-size="15" font-weight="600" fill="${COLORS.text}">${title}</text>`,
    `<text y="-27">${worstError(observed)}</text>`,
    ...marks(top, step).flatMap((minute) => [
      `<path d="M0 ${round(toY(minute))}h${PANEL.width}" ${stroke(COLORS.grid, 1)}/>`,
      `<text x="-8" y="${round(toY(minute) + 4)}" text-anchor="end">${minute}${minute === top ? ' min' : ''}</text>`,
    ]),
    ...marks(minutes, 10).map(
      (minute) =>
        `<text x="${round(toX(minute))}" y="${PANEL.height + 20}" text-anchor="middle">${minute}${minute === minutes ? ' min' : ''}</text>`,
    ),
    ...events.flatMap(([minute, event]) => [
      `<path d="M${round(toX(minute))} 0v${PANEL.height}" ${stroke(COLORS.muted, 1, '2 3')}/>`,
      `<text x="${round(toX(minute))}" y="-7" font-size="11" text-anchor="middle">${event}</text>`,
    ]),
    `<path d="${line(({ truth }) => truth)}" ${stroke(COLORS.truth, 7)}/>`,
    ...runs(observed).map((run) => {
      const style = run[0]?.isForgotten
        ? stroke(COLORS.lowerBound, 1.6, '5 3')
        : stroke(COLORS.estimate, 1.6)
      return `<path d="${line(({ seconds }) => seconds, run)}" ${style}/>`
    }),
  ]
}

/** The largest error of an estimate that is not a lower bound, in words. */
function worstError(observed: readonly Known[]): string {
  let worst = { error: 0, truth: 0 }
  for (const { truth, seconds, isForgotten } of observed) {
    const error = Math.abs(seconds - truth)
    if (!isForgotten && error > worst.error) worst = { error, truth }
  }
  const minutes = (worst.truth / 60).toFixed(1)
  return `off by at most ${worst.error.toFixed(2)} s${worst.truth < 60 ? '' : ` of ${minutes} min`}`
}

/** Splits the observations where estimates become lower bounds, or cease to be. */
function runs(observed: readonly Known[]): Known[][] {
  const found: Known[][] = []
  for (const observation of observed) {
    const run = found.at(-1)
    if (run?.[0]?.isForgotten === observation.isForgotten) run.push(observation)
    else found.push([observation])
  }
  return found
}

function toPath(points: readonly Point[]): string {
  return simplify(points)
    .map(([x, y], index) => `${index === 0 ? 'M' : 'L'}${round(x)} ${round(y)}`)
    .join('')
}

/** Leaves out points that are less than a third of a pixel away from the line without them (Douglas-Peucker). */
function simplify(points: readonly Point[]): readonly Point[] {
  const [first, last] = [points[0], points.at(-1)]
  if (!first || !last || points.length < 3) return points
  const [dx, dy] = [last[0] - first[0], last[1] - first[1]]
  let farthest = { index: 0, distance: 0 }
  for (const [index, [x, y]] of points.entries()) {
    const distance =
      Math.abs((x - first[0]) * dy - (y - first[1]) * dx) / Math.sqrt(dx * dx + dy * dy)
    if (distance > farthest.distance) farthest = { index, distance }
  }
  const { index, distance } = farthest
  if (distance < 1 / 3) return [first, last]
  return [...simplify(points.slice(0, index + 1)), ...simplify(points.slice(index)).slice(1)]
}

function stroke(color: string, width: number, dashes?: string): string {
  const dashed = dashes === undefined ? '' : ` stroke-dasharray="${dashes}"`
  return `fill="none" stroke="${color}" stroke-width="${width}" stroke-linejoin="round"${dashed}`
}

const round = (value: number) => Number(value.toFixed(1))
