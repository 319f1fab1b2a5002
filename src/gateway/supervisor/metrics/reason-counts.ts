/** Dropped packets and ended flows by reason, as the API shows them. */
import { CLOSE_REASON_NAMES, CloseReason } from '../../../stack/close-reason.ts';
import type { CounterReader } from '../../../stack/counters.ts';
import { DROP_REASON_NAMES, DropReason } from '../../../stack/drop-reason.ts';
import { dropLayer } from './drop-layer.ts';

export function countReasons(counters: CounterReader) {
  const drops = DROP_REASON_NAMES.map((reason, index) => ({
    reason,
    layer: dropLayer(index),
    count: counters.dropped(index),
  })).filter((_, index) => index !== DropReason.NONE);
  const closes = CLOSE_REASON_NAMES.map((reason, index) => ({
    reason,
    count: counters.closed(index),
  })).filter((_, index) => index !== CloseReason.NONE);
  return { drops, closes };
}
