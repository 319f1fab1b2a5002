import { CloseReason } from '../../stack/close-reason.ts';
import { Carrier, ClosedBy, FlowField, FlowPhase } from '../../stack/flow-row.ts';
import type { Stack } from '../../stack/stack.ts';
import type { Instant } from '../../stack/time.ts';
import type { FlowRef } from '../messages/control.ts';

/**
 * Ends the flows that an operator named, with a reset where there is one to send.
 *
 * @returns how many of them still lived. One that our TCP keeps in TIME-WAIT is over: what is left
 *          of it is there for segments that come late
 */
export function killFlows(stack: Stack, flows: readonly FlowRef[], now: Instant): number {
  let killed = 0;
  for (const { row, serial } of flows) {
    if (!stack.flows.isLive(row, serial) || isOver(stack, row)) continue;
    stack.abort(row, CloseReason.KILLED, ClosedBy.GATEWAY, now);
    killed++;
  }
  return killed;
}

/** A flow that is only watched is in TIME_WAIT as much as in its other states. */
function isOver(stack: Stack, row: number): boolean {
  const at = stack.rowAt(row);
  const { view } = stack.arena;
  return (
    view.getUint8(at + FlowField.PHASE) === FlowPhase.TIME_WAIT &&
    view.getUint8(at + FlowField.CARRIER) !== Carrier.NAT
  );
}
