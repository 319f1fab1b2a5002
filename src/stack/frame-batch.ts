/**
 * A batch of packets from a device without superpackets: runs of one flow arrive in the stack as
 * the superpackets that a device with them would have handed over. Order stays as it was.
 *
 *   push | packet | packet | packet …  →  offload/coalesce.ts  →  | vnet header | superpacket |
 */
import type { Arena } from './arena.ts';
import { Counter, type Counters } from './counters.ts';
import { Coalescer } from './offload/coalesce.ts';
import type { Instant } from './time.ts';
import * as ipv4 from './wire/ipv4.ts';
import { nextHeader } from './wire/ipv6.ts';
import { Protocol } from './wire/protocol.ts';
import { headerLength, TcpField } from './wire/tcp.ts';
import { UDP_HEADER_BYTES, UdpField } from './wire/udp.ts';
import { emitVnetHeader, GsoType, VNET_HEADER_BYTES, VnetFlag } from './wire/virtio-net.ts';

/** The longest packet. */
const PACKET_BYTES = 65_536;
/** In front of each packet: one that is handed back may get a vnet header there. */
const HEADROOM_BYTES = 16;
/** Two superpackets of MTU 1500 and their headers; room for one more packet of any length. */
const ROOM_BYTES = 3 * PACKET_BYTES;

/** Takes a frame of `length` bytes, as `Stack.ingest`. */
export type Ingest = (at: number, length: number, hasVnetHeader: boolean, now: Instant) => void;

export class FrameBatch {
  readonly #view: DataView;
  readonly #startAt: number;
  readonly #coalescer: Coalescer;
  #nextAt: number;
  #now = 0 as Instant;

  /** Bytes that an instance takes from its arena. */
  static readonly BYTES = ROOM_BYTES + Coalescer.BYTES + 128;

  constructor(arena: Arena, counters: Counters, ingest: Ingest) {
    this.#view = arena.view;
    this.#startAt = arena.take(ROOM_BYTES) + HEADROOM_BYTES;
    this.#nextAt = this.#startAt;
    this.#coalescer = new Coalescer(arena, (at, end, gsoSize, transportAt) => {
      if (gsoSize === 0) {
        ingest(at, end - at, false, this.#now);
        return;
      }
      counters.add(Counter.PACKETS_COALESCED, this.#coalescer.count);
      const frameAt = at - VNET_HEADER_BYTES;
      describe(this.#view, frameAt, at, gsoSize, transportAt);
      ingest(frameAt, end - frameAt, true, this.#now);
    });
  }

  /** Where the next packet is to be read to, while there is room. */
  get nextAt(): number {
    return this.#nextAt;
  }

  /** For a packet of any length. */
  get hasRoom(): boolean {
    return this.#nextAt + PACKET_BYTES <= this.#startAt - HEADROOM_BYTES + ROOM_BYTES;
  }

  /** Takes the packet of `length` bytes that was read to `nextAt`. */
  push(length: number, now: Instant): void {
    this.#now = now;
    const at = this.#nextAt;
    this.#nextAt = (at + length + HEADROOM_BYTES + 7) & ~7;
    this.#coalescer.push(at, at + length);
  }

  /** Ends the batch: whatever is held arrives now, and its memory is free again. */
  flush(now: Instant): void {
    this.#now = now;
    this.#coalescer.flush();
    this.#nextAt = this.#startAt;
  }
}

/** Writes the vnet header that the kernel would have put in front of the superpacket at `ipAt`. */
function describe(
  view: DataView,
  frameAt: number,
  ipAt: number,
  gsoSize: number,
  transportAt: number,
): void {
  const isIpv4 = ipv4.version(view, ipAt) === 4;
  const start = transportAt - ipAt;
  const protocol = isIpv4 ? ipv4.protocol(view, ipAt) : nextHeader(view, ipAt);
  const isUdp = protocol === Protocol.UDP;
  const tcpType = isIpv4 ? GsoType.TCPV4 : GsoType.TCPV6;
  emitVnetHeader(
    view,
    frameAt,
    VnetFlag.NEEDS_CSUM,
    isUdp ? GsoType.UDP_L4 : tcpType,
    start + (isUdp ? UDP_HEADER_BYTES : headerLength(view, transportAt)),
    gsoSize,
    start,
    isUdp ? UdpField.CHECKSUM : TcpField.CHECKSUM,
  );
}
