import type { FlowTable } from '../../../stack/flow-table.ts';
import type { Stack } from '../../../stack/stack.ts';

/** What sessions use of the stack. */
export interface SessionStack
  extends Pick<
    Stack,
    'abort' | 'admit' | 'arena' | 'datagram' | 'echoReply' | 'reject' | 'relayError' | 'slabs'
  > {
  readonly flows: Pick<FlowTable, 'capacity' | 'rowAt'>;
}
