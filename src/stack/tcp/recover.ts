import type { Arena } from '../arena.ts';
import { CloseReason } from '../close-reason.ts';
import type { Egress } from '../egress.ts';
import { Carrier, ClosedBy, FLOW_ROW_BYTES, FlowField, FlowPhase } from '../flow-row.ts';
import { TcpFlag } from '../wire/tcp.ts';
import { TcpState } from './states.ts';
import type { Tcb } from './tcb.ts';

/**
 * Finds the flows that an earlier data plane left in this memory, tells their clients with a
 * reset, and clears the rows. A client that waits for data would wait for ever otherwise. A reset
 * whose sequence number is stale draws a challenge ACK (RFC 5961 §3.2), which the stack, not
 * knowing the flow, answers with a reset that fits.
 *
 * Flows that are only rewritten live on in their two ends, and so in the table.
 *
 * @param adopt    takes over the rewritten flow in a row; false when that cannot be
 * @param onEnded  is called for each flow, whose row still lies there and says why it ended
 * @returns the highest serial number found, 0 when there was none
 */
export function resetLeftovers(
  arena: Arena,
  tcb: Tcb,
  capacity: number,
  egress: Egress,
  adopt: (row: number) => boolean,
  onEnded: (rowAt: number) => void,
): number {
  const view = arena.view;
  let lastSerial = 0;
  for (let row = 0; row < capacity; row++) {
    const at = row * FLOW_ROW_BYTES;
    const serial = view.getFloat64(at + FlowField.SERIAL, true);
    if (serial === 0) continue;
    lastSerial = Math.max(lastSerial, serial);
    if (view.getUint8(at + FlowField.CARRIER) === Carrier.NAT && adopt(row)) continue;
    tcb.moveTo(row);
    if (tcb.state >= TcpState.SYN_RECEIVED && tcb.phase < FlowPhase.TIME_WAIT) {
      egress.bareTcpOf(at, tcb.sndNxt, tcb.rcvNxt, TcpFlag.RST | TcpFlag.ACK);
    }
    if (tcb.phase !== FlowPhase.TIME_WAIT) {
      view.setUint8(at + FlowField.CLOSE_REASON, CloseReason.RESTART);
      view.setUint8(at + FlowField.CLOSED_BY, ClosedBy.GATEWAY);
      onEnded(at);
    }
    view.setFloat64(at + FlowField.SERIAL, 0, true);
    tcb.phase = FlowPhase.FREE;
  }
  return lastSerial;
}
