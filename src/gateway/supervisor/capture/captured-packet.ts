/** A record of the ring as a block of the file: the packet, and in words what became of it. */
import { CAUSES } from '../../../stack/accounting.ts';
import { DROP_REASON_NAMES, DropReason } from '../../../stack/drop-reason.ts';
import { readFlowRow } from '../../../stack/flow-row.ts';
import { completeChecksum } from '../../../stack/offload/segment.ts';
import type { FlowContext } from '../../flow-filter/flow-context.ts';
import { flowId } from '../../flow-filter/flow-id.ts';
import { PacketWay, RecordField } from '../../messages/capture-ring.ts';
import { Direction, enhancedPacket } from './pcapng.ts';

const VERDICT_NONE = 'none';
/** Phases in which nobody ends or watches the flow yet. */
const UNDECIDED: ReadonlySet<string> = new Set(['deciding', 'dialing']);

/**
 * @param epoch       nanoseconds since 1970 at the beginning of CLOCK_MONOTONIC
 * @param snapLength  of this capture; another may have asked for more
 */
export function packetBlock(
  view: DataView,
  at: number,
  snapLength: number,
  epoch: bigint,
  context: FlowContext,
): Uint8Array {
  const captured = view.getUint32(at + RecordField.CAPTURED, true);
  const length = view.getUint32(at + RecordField.PACKET_LENGTH, true);
  const time = epoch + BigInt(view.getFloat64(at + RecordField.TIME, true));
  const packet = new Uint8Array(captured);
  packet.set(new Uint8Array(view.buffer, view.byteOffset + at + RecordField.PACKET, captured));
  if (captured === length) finishChecksum(view, at, packet);
  const isOut = view.getUint8(at + RecordField.WAY) === PacketWay.OUT;
  return enhancedPacket(
    time,
    packet.subarray(0, snapLength),
    length,
    isOut ? Direction.OUTBOUND : Direction.INBOUND,
    commentOn(view, at, context),
  );
}

/** What was left to the hardware; of a packet that is not all there it stays undone. */
function finishChecksum(record: DataView, at: number, packet: Uint8Array): void {
  const from = record.getUint16(at + RecordField.CHECKSUM_FROM, true);
  const fieldAt = record.getUint16(at + RecordField.CHECKSUM_AT, true);
  if (from === 0 || fieldAt < from || fieldAt + 2 > packet.length) return;
  completeChecksum(new DataView(packet.buffer), 0, from, fieldAt - from, packet.length);
}

/** `dropped: paws; flow 1x9, tcp ESTABLISHED, forward by script route@3` */
function commentOn(view: DataView, at: number, context: FlowContext): string {
  const parts = [fate(view, at), flowText(view, at, context)];
  const gsoSize = view.getUint16(at + RecordField.GSO_SIZE, true);
  if (gsoSize !== 0) parts.push(`superpacket, cut after each ${gsoSize} bytes of payload`);
  return parts.filter((part) => part !== '').join('; ');
}

function fate(view: DataView, at: number): string {
  const reason = view.getUint8(at + RecordField.REASON);
  const way = view.getUint8(at + RecordField.WAY);
  if (reason === DropReason.DEVICE_WRITE_FAILED) return 'refused by the device';
  if (reason !== DropReason.NONE) {
    const word = DROP_REASON_NAMES[reason] ?? 'unknown';
    return way === PacketWay.LATER ? `dropped after a wait: ${word}` : `dropped: ${word}`;
  }
  if (way !== PacketWay.OUT) return '';
  const cause = view.getUint8(at + RecordField.CAUSE);
  return `sent: ${CAUSES.find(([counter]) => counter === cause)?.[1] ?? 'unknown'}`;
}

function flowText(view: DataView, at: number, { names }: FlowContext): string {
  const flow = readFlowRow(view, at + RecordField.ROW);
  if (flow === undefined) return 'no flow';
  const { serial, phase, decider, deciderIndex: index, generation, verdict } = flow;
  const state = flow.trackState === 'NONE' ? flow.tcpState : flow.trackState;
  const place = UNDECIDED.has(phase) ? phase : state;
  const head = `flow ${flowId(serial)}, ${flow.protocol} ${place}`;
  if (verdict === VERDICT_NONE) return head;
  const script = names.scriptName(generation, index);
  const rule = names.listenerName(generation, index);
  const by =
    decider === 'script'
      ? ` by script ${script ?? index}@${generation}`
      : decider === 'listener'
        ? ` by listener ${rule ?? index}`
        : '';
  return `${head}, ${verdict}${by}`;
}
