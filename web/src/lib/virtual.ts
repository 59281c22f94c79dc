// Which rows of a long list are drawn. Heights may differ; then where rows begin is kept as prefix sums. Where all have
// one height it is counted out, so that a list of any length costs nothing.

/** `last` is exclusive; `before` and `after` are the heights that are left out. */
export interface Window { first: number; last: number; before: number; after: number }

/** Where each row begins. */
export interface Offsets {
  /** Rows. */
  count: number;
  /** Where row `index` begins; of the row after the last one, the whole height. */
  at(index: number): number;
  /** The row at a position. */
  find(position: number): number;
}

/** Rows of one height. */
export function even(count: number, height: number): Offsets {
  return { count, at: (index) => index * height, find: (position) => Math.max(0, Math.min(count - 1, Math.floor(position / height))) };
}

/** Rows of different heights. */
export function uneven(heights: readonly number[]): Offsets {
  const sums = new Float64Array(heights.length + 1);
  for (let index = 0; index < heights.length; index += 1) sums[index + 1] = (sums[index] ?? 0) + (heights[index] ?? 0);
  const find = (position: number): number => {
    let low = 0;
    let high = Math.max(0, heights.length - 1);
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((sums[middle] ?? 0) <= position) low = middle;
      else high = middle - 1;
    }
    return low;
  };
  return { count: heights.length, at: (index) => sums[index] ?? 0, find };
}

/** The rows to draw at a place of the view. */
export function windowOf(offsets: Offsets, scrollTop: number, viewport: number, overscan = 6): Window {
  const { count } = offsets;
  const first = Math.max(0, offsets.find(scrollTop) - overscan);
  const last = Math.max(first, Math.min(count, offsets.find(scrollTop + viewport) + 1 + overscan));
  return { first, last, before: offsets.at(first), after: offsets.at(count) - offsets.at(last) };
}
