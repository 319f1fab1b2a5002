/**
 * Where every frame is: one sum for what comes in, one for what goes out.
 *
 *   frames in   = outcomes + dropped on arrival + waiting
 *   frames out  = causes - refused by the device
 *
 * A frame is counted once, however many packets the device has put into it. It is dropped when a
 * reason says so, though its sender may be told (a reset, an ICMP error). What waits moves on to an
 * outcome or a reason: a fragment when its packet is whole or given up, a parked packet with the
 * verdict. What is handed over to the stack of another queue is counted there; in the sum of both
 * it waits while it is on its way (PEER_FRAMES_OUT - PEER_FRAMES_IN). A loss behind an outcome has
 * a reason of its own: the device or an upstream socket refuses what was forwarded or delivered, or
 * an ICMP error that was due is not sent.
 */
import { Counter, type Counters } from './counters.ts';
import { DROP_REASON_COUNT, DropReason } from './drop-reason.ts';

type Named = readonly [counter: Counter, word: string];

/** What became of frames that came in and were not dropped. */
export const OUTCOMES: readonly Named[] = [
  // Segments of connections that end here: data, acknowledgments, resets
  [Counter.IN_TCP, 'tcp'],
  // Rewritten and handed back, ICMP errors about such packets too
  [Counter.IN_NAT, 'nat'],
  // Datagrams and pings that went to the socket of their session
  [Counter.IN_SESSION, 'session'],
  // ICMP errors that told our TCP or a session something
  [Counter.IN_ICMP_ERROR, 'icmp-error'],
  // Echo replies, SYN cookies, and refusals that were told
  [Counter.IN_ANSWERED, 'answered'],
  // Fragments, but the last one of each packet, which became of what the packet did
  [Counter.IN_REASSEMBLED, 'reassembled'],
];

/** Where frames wait. */
export const WAITING: readonly Named[] = [
  [Counter.IN_FRAGMENTS_NOW, 'fragments'],
  [Counter.IN_PARKED_NOW, 'verdict'],
];

/** Why frames went out. */
export const CAUSES: readonly Named[] = [
  [Counter.OUT_TCP_DATA, 'tcp-data'],
  [Counter.OUT_TCP_ACK, 'tcp-ack'],
  [Counter.OUT_TCP_SYN, 'tcp-syn'],
  [Counter.OUT_TCP_RST, 'tcp-rst'],
  [Counter.OUT_NAT, 'nat'],
  [Counter.OUT_UDP, 'udp'],
  [Counter.OUT_ICMP, 'icmp'],
];

/** Reasons that are not of the arrival of a frame. */
const LATER: ReadonlySet<number> = new Set([
  DropReason.ICMP_RATE_LIMIT,
  DropReason.DEVICE_WRITE_FAILED,
  DropReason.PACKET_TOO_BIG,
  DropReason.UPSTREAM_FULL,
  DropReason.UPSTREAM_SEND_FAILED,
  DropReason.UPSTREAM_TOO_LONG,
]);

export const isDroppedOnArrival = (reason: number): boolean =>
  reason !== DropReason.NONE && !LATER.has(reason);

/**
 * A data plane that died took with it what waited there, and the frame that it was at: one that had
 * come, or one that was about to leave.
 */
export function forgetUnsettled(counters: Counters): void {
  for (const [counter] of WAITING) counters.set(counter, 0);
  const get = (counter: Counter) => counters.get(counter);
  const came =
    get(Counter.DEVICE_FRAMES_IN) + get(Counter.PEER_FRAMES_IN) - get(Counter.PEER_FRAMES_OUT);
  let settled = sumOf(counters, OUTCOMES);
  for (let reason = 0; reason < DROP_REASON_COUNT; reason++) {
    if (isDroppedOnArrival(reason)) settled += counters.dropped(reason);
  }
  if (came > settled) counters.drop(DropReason.FLOW_ENDED, came - settled);
  const left = get(Counter.DEVICE_FRAMES_OUT) + counters.dropped(DropReason.DEVICE_WRITE_FAILED);
  const unsent = sumOf(counters, CAUSES) - left;
  if (unsent > 0) counters.drop(DropReason.DEVICE_WRITE_FAILED, unsent);
}

const sumOf = (counters: Counters, named: readonly Named[]): number =>
  named.reduce((sum, [counter]) => sum + counters.get(counter), 0);
