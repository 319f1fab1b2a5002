import { Counter } from '../counters.ts';
import { FlowField } from '../flow-row.ts';
import type { Seq } from '../wire/seq.ts';
import { TcpFlag } from '../wire/tcp.ts';
import type { TrackContext } from './context.ts';
import { SenderField, senderAt } from './tcp-window.ts';

/**
 * Sends each end of a watched TCP connection a reset that begins where it expects the other's next
 * byte, as far as that was seen. An end that knows of more asks back (RFC 5961 §3.2), and meets the
 * reset for a segment of no flow.
 */
export function resetBoth({ arena, egress, counters }: TrackContext, rowAt: number): void {
  const { view } = arena;
  const length = view.getUint8(rowAt + FlowField.FAMILY) === 4 ? 4 : 16;
  const fromClient = view.getUint32(senderAt(rowAt, false) + SenderField.END, true) as Seq;
  const fromUpstream = view.getUint32(senderAt(rowAt, true) + SenderField.END, true) as Seq;
  const flags = TcpFlag.RST | TcpFlag.ACK;
  egress.bareTcp(
    rowAt + FlowField.DESTINATION,
    rowAt + FlowField.SOURCE,
    length,
    view.getUint16(rowAt + FlowField.DESTINATION_PORT, true),
    view.getUint16(rowAt + FlowField.SOURCE_PORT, true),
    fromUpstream,
    fromClient,
    flags,
  );
  egress.bareTcp(
    rowAt + FlowField.NAT_SOURCE,
    rowAt + FlowField.UPSTREAM,
    length,
    view.getUint16(rowAt + FlowField.NAT_SOURCE_PORT, true),
    view.getUint16(rowAt + FlowField.UPSTREAM_PORT, true),
    fromClient,
    fromUpstream,
    flags,
  );
  counters.add(Counter.TCP_RESETS_SENT, 2);
}
