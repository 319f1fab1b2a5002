/** Dials of scripts into the device: by our TCP, to whoever is behind it. */
import type { Counters } from '../../../stack/counters.ts';
import { Decider, FlowField, Service, VerdictCode } from '../../../stack/flow-row.ts';
import { noteVerdict } from '../../../stack/flow-tally.ts';
import { NO_SLAB, SLAB_PAYLOAD_AT } from '../../../stack/slab-pool.ts';
import type { Stack } from '../../../stack/stack.ts';
import { NotOpened } from '../../../stack/tcp/active-open.ts';
import type { Instant } from '../../../stack/time.ts';
import { DialResult } from '../../messages/conn.ts';
import type { ConnMessage } from '../../messages/conn-decode.ts';
import type { SocketEnds } from '../../messages/conn-encode.ts';
import { failedDial } from '../forward/dial-result.ts';
import type { LoopGuard } from '../loop-guard.ts';
import type { ClaimEnd } from './claim.ts';

const ADDRESS_BYTES = 16;

/**
 * Dials what the message names, whose addresses lie in `view`. The far end sees as its client the
 * address to bind, or the one that the flow was for: both lead back into the device.
 *
 * @returns the row of the dial; below 0 when it failed, and `end.dialed` says how
 */
export function dialIntoDevice(
  stack: Stack,
  guard: LoopGuard,
  counters: Counters,
  end: ClaimEnd,
  message: ConnMessage,
  view: DataView,
  deadline: Instant,
  now: Instant,
): number {
  const fail = (result: DialResult) => {
    failedDial(end, result, counters);
    return -1;
  };
  const family = message.family === 4 ? 4 : 6;
  const claimAt = stack.rowAt(end.claim.row);
  const flowFamily = stack.arena.view.getUint8(claimAt + FlowField.FAMILY);
  const isBound = message.localFamily !== 0;
  if ((isBound ? message.localFamily : flowFamily) !== family) return fail(DialResult.FAILED);
  // What the kernel routes into the device would be a new flow, from us to us.
  if (guard.isLoop(view, message.addressAt, family, 0, 0, now)) return fail(DialResult.LOOP);
  const slabAt = stack.slabs.take(2 * ADDRESS_BYTES);
  if (slabAt === NO_SLAB) return fail(DialResult.LIMIT);
  const { view: arena } = stack.arena;
  const targetAt = slabAt + SLAB_PAYLOAD_AT;
  const sourceAt = targetAt + ADDRESS_BYTES;
  const from = isBound ? view : arena;
  const fromAt = isBound ? message.localAt : claimAt + FlowField.DESTINATION;
  const length = family === 4 ? 4 : ADDRESS_BYTES;
  for (let i = 0; i < length; i += 4) {
    arena.setInt32(targetAt + i, view.getInt32(message.addressAt + i));
    arena.setInt32(sourceAt + i, from.getInt32(fromAt + i));
  }
  const row = stack.connect(sourceAt, 0, targetAt, message.port, length, deadline, now);
  stack.slabs.release(slabAt);
  if (row < 0) {
    return fail(row === NotOpened.BAD_ADDRESS ? DialResult.UNREACHABLE : DialResult.LIMIT);
  }
  const at = stack.rowAt(row);
  adopt(arena, at, claimAt);
  noteVerdict(counters, arena, at, VerdictCode.CLAIM);
  return row;
}

/** The row shows whose dial it is, and lives by the time-outs of the flow that it is for. */
function adopt(view: DataView, at: number, claimAt: number): void {
  view.setUint8(at + FlowField.SERVICE, Service.SCRIPT);
  view.setUint8(at + FlowField.DECIDER, Decider.SCRIPT);
  for (const field of [
    FlowField.DECIDER_INDEX,
    FlowField.GENERATION,
    FlowField.IDLE_TIMEOUT_MS,
    FlowField.HALF_CLOSE_TIMEOUT_MS,
  ]) {
    view.setUint32(at + field, view.getUint32(claimAt + field, true), true);
  }
}

/** Both ends of a connection into the device, in whose row the far end stands as the source. */
export function endsOfRow(stack: Stack, row: number): SocketEnds {
  const { view } = stack.arena;
  const at = stack.rowAt(row);
  const addresses = new DataView(new ArrayBuffer(2 * ADDRESS_BYTES));
  for (let i = 0; i < ADDRESS_BYTES; i += 4) {
    addresses.setInt32(i, view.getInt32(at + FlowField.DESTINATION + i));
    addresses.setInt32(ADDRESS_BYTES + i, view.getInt32(at + FlowField.SOURCE + i));
  }
  return {
    family: view.getUint8(at + FlowField.FAMILY) === 4 ? 4 : 6,
    addresses,
    localPort: view.getUint16(at + FlowField.DESTINATION_PORT, true),
    remotePort: view.getUint16(at + FlowField.SOURCE_PORT, true),
  };
}
