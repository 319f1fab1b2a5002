/** Tells the operator that sockets could not be opened: seldom, and how many flows that cost. */
import { errnoName } from '../../../ffi/errno.ts';
import { RateLimit } from '../../../stack/rate-limit.ts';
import type { Instant } from '../../../stack/time.ts';
import type { FromDataPlane } from '../../messages/control.ts';

/** A shortage lasts, and each datagram of a new flow meets it. */
const LINES_PER_SECOND = 0.1;

export class ShortageNotice {
  readonly #report: (message: FromDataPlane) => void;
  readonly #lines = new RateLimit(LINES_PER_SECOND, 1);
  /** Flows that got no socket since the last line. */
  #flows = 0;

  constructor(report: (message: FromDataPlane) => void) {
    this.#report = report;
  }

  /** A flow got no socket. @param errno  positive: what the kernel said */
  note(errno: number, now: Instant): void {
    this.#flows += 1;
    if (!this.#lines.take(now)) return;
    const fields = { why: errnoName(errno), flows: this.#flows };
    this.#flows = 0;
    this.#report({ kind: 'log', level: 'warn', event: 'socket-shortage', fields });
  }
}
