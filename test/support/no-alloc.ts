/**
 * Proves that code allocates nothing per call: what it makes would show as objects of some type in
 * the heap, one or more for each call. Numbers that leave the integer range may live on the heap
 * too, but are no objects and are not seen here.
 */
import { heapStats } from 'bun:jsc';

const WARM_UP_CALLS = 20_000;
const CALLS = 2_000;

/**
 * Calls `run` until it is compiled, then 2,000 times more between two looks at the heap.
 *
 * @param run  gets the number of the call
 * @returns    types of which at least one object per call was made, as `Object: 2000`; empty when
 *             nothing is allocated
 */
export function allocatedTypes(run: (call: number) => void): string[] {
  for (let call = 0; call < WARM_UP_CALLS; call++) run(call);
  Bun.gc(true);
  const before = heapStats().objectTypeCounts;
  for (let call = 0; call < CALLS; call++) run(call);
  const after = heapStats().objectTypeCounts;
  return Object.entries(after)
    .map(([type, count]) => ({ type, grown: count - (before[type] ?? 0) }))
    .filter(({ grown }) => grown >= CALLS)
    .map(({ type, grown }) => `${type}: ${grown}`);
}
