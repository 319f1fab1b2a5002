/** The sums of accounting.ts, added up in another way than there. */
import { CAUSES, isDroppedOnArrival, OUTCOMES, WAITING } from '../../src/stack/accounting.ts';
import { Counter, type CounterReader } from '../../src/stack/counters.ts';
import { DROP_REASON_NAMES, DropReason } from '../../src/stack/drop-reason.ts';

/** Frames by where they are: `{ tcp: 4, 'dropped no-flow': 1 }`. */
export function whereFramesAre(counters: CounterReader): Record<string, number> {
  const found: Record<string, number> = {};
  for (const [counter, word] of OUTCOMES) found[word] = counters.get(counter);
  for (const [counter, word] of WAITING) found[`waiting ${word}`] = counters.get(counter);
  const handedOver = counters.get(Counter.PEER_FRAMES_OUT) - counters.get(Counter.PEER_FRAMES_IN);
  found['waiting peer'] = handedOver;
  for (const [reason, name] of DROP_REASON_NAMES.entries()) {
    if (isDroppedOnArrival(reason)) found[`dropped ${name}`] = counters.dropped(reason);
  }
  return Object.fromEntries(Object.entries(found).filter(([, count]) => count !== 0));
}

/**
 * Every frame that came in is somewhere, and every frame that went out was sent for a reason.
 *
 * @throws Error that says where the frames are
 */
export function checkBalance(counters: CounterReader): void {
  const where = whereFramesAre(counters);
  const accounted = Object.values(where).reduce((sum, count) => sum + count, 0);
  const framesIn = counters.get(Counter.DEVICE_FRAMES_IN);
  if (accounted !== framesIn) {
    throw new Error(`${framesIn} frames came in, not ${accounted}: ${JSON.stringify(where)}`);
  }
  if (Object.values(where).some((count) => count < 0)) {
    throw new Error(`less than no frame: ${JSON.stringify(where)}`);
  }
  const causes = CAUSES.map(([counter, word]) => [word, counters.get(counter)] as const);
  const sent = causes.reduce((sum, [, count]) => sum + count, 0);
  const refused = counters.dropped(DropReason.DEVICE_WRITE_FAILED);
  const framesOut = counters.get(Counter.DEVICE_FRAMES_OUT);
  if (sent !== framesOut + refused) {
    throw new Error(`${framesOut} frames went out, not ${sent - refused}: ${causes.join(' ')}`);
  }
}
