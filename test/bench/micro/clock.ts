/** The clock of the micro-benchmarks. */

const WARM_UP_MS = 200;
const ROUND_MS = 200;
const ROUNDS = 5;

/**
 * Nanoseconds that one call of `body` takes: the best of several rounds, since whatever disturbs a
 * round makes it slower. A call should last a microsecond at least, so that the loop costs nothing.
 */
export function nanosecondsPerCall(body: () => void): number {
  measureRound(body, WARM_UP_MS);
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) best = Math.min(best, measureRound(body, ROUND_MS));
  return best;
}

function measureRound(body: () => void, milliseconds: number): number {
  const start = Bun.nanoseconds();
  const end = start + milliseconds * 1e6;
  let calls = 0;
  while (Bun.nanoseconds() < end) {
    body();
    calls += 1;
  }
  return (Bun.nanoseconds() - start) / calls;
}
