/** How a dial of a script ended, in the words of messages/conn.ts. */
import { CloseReason } from '../../../stack/close-reason.ts';
import { Counter, type Counters } from '../../../stack/counters.ts';
import { NEVER } from '../../../stack/time.ts';
import { DialResult } from '../../messages/conn.ts';
import type { ClaimEnd } from '../claims/claim.ts';
import { dialFailure, isShortage } from './dial.ts';

/** @param errno  positive */
export const resultOfErrno = (errno: number): DialResult =>
  isShortage(errno) ? DialResult.LIMIT : resultOfReason(dialFailure(errno).reason);

/** Of a connection that our TCP dialled, by why it ended. */
export function resultOfReason(reason: number): DialResult {
  switch (reason) {
    case CloseReason.DIAL_REFUSED:
      return DialResult.REFUSED;
    case CloseReason.DIAL_UNREACHABLE:
      return DialResult.UNREACHABLE;
    case CloseReason.DIAL_LOOP:
      return DialResult.LOOP;
    case CloseReason.DIAL_TIMEOUT:
    case CloseReason.RETRANSMIT_LIMIT:
      return DialResult.TIMEOUT;
    default:
      return DialResult.FAILED;
  }
}

/** The end has no socket, and will have none. */
export function withoutDial(end: ClaimEnd, result: DialResult): void {
  end.dialed = result;
  end.deadline = NEVER;
  end.ends = undefined;
  end.queue.release();
}

/** The same of a dial that no upstream with a name counts. */
export function failedDial(end: ClaimEnd, result: DialResult, counters: Counters): void {
  withoutDial(end, result);
  counters.add(Counter.DIALS);
  counters.add(Counter.DIALS_FAILED);
}
