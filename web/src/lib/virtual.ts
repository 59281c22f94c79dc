// Which rows of a long list are drawn. Heights may differ; offsets are kept as prefix sums.

export interface Window { first: number; last: number; before: number; after: number }

/** Rows of one height. `last` is exclusive. */
export function fixedWindow(count: number, height: number, scrollTop: number, viewport: number, overscan = 8): Window {
  const first = Math.max(0, Math.min(count, Math.floor(scrollTop / height)) - overscan);
  const last = Math.min(count, Math.ceil((scrollTop + viewport) / height) + overscan);
  return { first, last: Math.max(first, last), before: first * height, after: Math.max(0, (count - Math.max(first, last)) * height) };
}

/** `offsets[i]` is where row i begins; its last element is the whole height. */
export function offsetsOf(heights: readonly number[]): Float64Array {
  const offsets = new Float64Array(heights.length + 1);
  for (let index = 0; index < heights.length; index += 1) offsets[index + 1] = (offsets[index] ?? 0) + (heights[index] ?? 0);
  return offsets;
}

export function window(offsets: Float64Array, scrollTop: number, viewport: number, overscan = 6): Window {
  const count = offsets.length - 1;
  const total = offsets[count] ?? 0;
  const first = Math.max(0, find(offsets, scrollTop) - overscan);
  const last = Math.min(count, find(offsets, scrollTop + viewport) + 1 + overscan);
  return { first, last: Math.max(first, last), before: offsets[first] ?? 0, after: total - (offsets[Math.max(first, last)] ?? total) };
}

/** The row at a position. */
export function find(offsets: Float64Array, position: number): number {
  let low = 0;
  let high = Math.max(0, offsets.length - 2);
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((offsets[middle] ?? 0) <= position) low = middle;
    else high = middle - 1;
  }
  return low;
}
