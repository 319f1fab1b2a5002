import { CloseReason } from '../../stack/close-reason.ts';
import { Carrier, ClosedBy, FlowField, FlowPhase } from '../../stack/flow-row.ts';
import type { Stack } from '../../stack/stack.ts';
import type { Instant } from '../../stack/time.ts';
import type { FlowRef } from '../messages/control.ts';

/**
 * Ends the flows that an operator named, or a reload, with a reset where there is one to send.
 *
 * @param isReload  scripts that were loaded would decide otherwise about them
 * @returns how many of them still lived. One that our TCP keeps in TIME-WAIT is over: what is left
 *          of it is there for segments that come late
 */
export function killFlows(
  stack: Stack,
  flows: readonly FlowRef[],
  now: Instant,
  isReload = false,
): number {
  let killed = 0;
  for (const { row, serial } of flows) {
    if (!stack.flows.isLive(row, serial) || isOver(stack, row)) continue;
    if (isReload) stack.abort(row, CloseReason.RELOADED, ClosedBy.RELOAD, now);
    else stack.abort(row, CloseReason.KILLED, ClosedBy.GATEWAY, now);
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
