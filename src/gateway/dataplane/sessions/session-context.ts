import type { AnswerTap } from '../../../stack/answer-tap.ts';
import type { Counters } from '../../../stack/counters.ts';
import type { UpstreamTable } from '../forward/upstream-table.ts';
import type { SessionStack } from './session-stack.ts';
import type { SessionTable } from './session-table.ts';

/** What every part of the sessions works with. */
export interface SessionContext {
  readonly stack: SessionStack;
  readonly upstreams: UpstreamTable;
  readonly table: SessionTable;
  readonly counters: Counters;
  /** Who sees what DNS servers answer; absent: nobody. */
  readonly answers?: AnswerTap;
  /** Address of the arena's first byte, for the kernel. */
  readonly base: number;
}
