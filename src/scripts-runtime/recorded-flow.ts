import type { ConnectionRequest } from '../stack/verdict.ts';

/** A flow that was seen somewhere, to be decided again. A plain value: it crosses processes. */
export interface RecordedFlow extends Omit<ConnectionRequest, 'flow'> {
  /** As a capture or a log calls it; shown, and nothing else. */
  readonly id?: string;
  /** Milliseconds since 1970; the clock of the scripts moves on to it. Absent: it stands. */
  readonly atMs?: number;
}
