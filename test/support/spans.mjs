/** A part of a recording, in milliseconds. @typedef {{ from: number, to: number }} Span */

/** An incident, or something else that began at some time in `from` and ended at some time in `to`. @typedef {{ kind: string, from: Span, to: Span }} Lasting */

/** When it certainly lasted. @param {Lasting} effect @returns {Span} */
export const during = ({ from, to }) => ({ from: from.to, to: to.from })

/** When it can have lasted. @param {Lasting} effect @returns {Span} */
export const around = ({ from, to }) => ({ from: from.from, to: to.to })

/** When incidents can have had an effect. Of one that changes something, only its beginning and its end have. @param {readonly Lasting[]} effects @returns {Span[]} */
export function spansOf(effects) {
  return effects.flatMap((each) =>
    /changed|joined|left|renamed/.test(each.kind) ? [each.from, each.to] : around(each),
  )
}

/** @param {readonly Span[]} spans @param {Span} time */
export function overlaps(spans, time) {
  return spans.some(({ from, to }) => from <= time.to && to >= time.from)
}

/** @param {readonly Span[]} spans @param {Span} time */
export function covers(spans, time) {
  return spans.some(({ from, to }) => from <= time.from && to >= time.to)
}

/** @param {number} at @param {number} millis @param {readonly Span[]} pauses do not count */
export function back(at, millis, pauses) {
  let start = at - millis
  for (const { from, to } of pauses.toSorted((a, b) => b.to - a.to)) {
    if (from < at && to > start) start -= Math.min(to, at) - from
  }
  return start
}

/** The times before, between and after others. @param {readonly Span[]} spans @param {number} end @returns {Span[]} */
export function between(spans, end) {
  const starts = [...spans, { from: end }]
  return starts.map(({ from }, index) => ({ from: spans[index - 1]?.to ?? 0, to: from }))
}

/** How many come before a time. @param {readonly Span[]} samples @param {'from' | 'to'} field @param {number} time */
export function countUntil(samples, field, time) {
  let [low, high] = [0, samples.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if (/** @type {Span} */ (samples[middle])[field] <= time) low = middle + 1
    else high = middle
  }
  return low
}
