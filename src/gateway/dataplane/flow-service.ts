import type { Instant } from '../../stack/time.ts';

/**
 * Who talks to the client of a flow in the place of an upstream socket, as `Service` in the flow's
 * row says. The calls are those of `FlowOwner`, and bound by its rules.
 */
export interface FlowService {
  onEstablished(row: number, now: Instant): void;
  onData(row: number, at: number, length: number, now: Instant): number;
  onWaiting(row: number, now: Instant): void;
  onFin(row: number, now: Instant): void;
  onRoom(row: number, now: Instant): void;
  /** The flow in `row` ended, whoever served it. */
  release(row: number, now: Instant): void;
}
