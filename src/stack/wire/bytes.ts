/**
 * Copies `length` bytes inside one view, to a place that the source does not overlap. For short
 * copies where only a `DataView` is at hand; a long one is for `Uint8Array.copyWithin`.
 */
export function copyBytes(view: DataView, to: number, from: number, length: number): void {
  let done = 0;
  for (; done + 4 <= length; done += 4) view.setInt32(to + done, view.getInt32(from + done));
  for (; done < length; done++) view.setUint8(to + done, view.getUint8(from + done));
}

/** Compares `length` bytes, a multiple of 4. */
export function wordsEqual(view: DataView, aAt: number, bAt: number, length: number): boolean {
  for (let done = 0; done < length; done += 4) {
    if (view.getInt32(aAt + done) !== view.getInt32(bAt + done)) return false;
  }
  return true;
}
