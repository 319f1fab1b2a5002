import type { AnswerTap } from '../answer-tap.ts';
import type { Arena } from '../arena.ts';
import type { Counters } from '../counters.ts';
import type { DropReason } from '../drop-reason.ts';
import type { FlowTable } from '../flow-table.ts';
import type { Packet } from '../packet.ts';
import type { Instant } from '../time.ts';
import type { Seq } from '../wire/seq.ts';
import type { TrackTimeouts } from './timeouts.ts';

/** What connection tracking wants of those around it. */
export interface TrackContext {
  readonly arena: Arena;
  readonly flows: FlowTable;
  readonly counters: Counters;
  readonly egress: TrackEgress;
  readonly owner: TrackOwner;
  readonly answers: AnswerTap;
}

/** The part of the egress that rewritten packets leave by. */
export interface TrackEgress {
  /** Hands a rewritten packet back to the device, where it lies. */
  forward(packet: Packet): DropReason;
  /** Largest payload of a TCP segment without options, by family. */
  mssFor(family: number): number;
  /** Sends a segment without payload between two addresses in the arena. */
  bareTcp(
    sourceAt: number,
    destinationAt: number,
    addressLength: number,
    sourcePort: number,
    destinationPort: number,
    seq: Seq,
    ack: Seq,
    flags: number,
  ): boolean;
}

/** The part of the owner of flows that learns of their end. */
export interface TrackOwner {
  /** The flow ended; its row still tells why. The last call for it. */
  onClosed(row: number, now: Instant): void;
}

/** Bounds and times; the gateway may change them while flows live. */
export interface TrackSettings {
  timeouts: TrackTimeouts;
  /** Segments outside of the windows pass, but for resets: nf_conntrack_tcp_be_liberal. */
  tcpLiberal: boolean;
  /** A TCP flow may begin with a segment that is no SYN: nf_conntrack_tcp_loose. */
  tcpLoose: boolean;
  /** Rewritten flows that one source may have: an IPv4 address, or an IPv6 /64. */
  perSource: number;
  /** First and last port that a source may get with an address of the pool. */
  firstPort: number;
  lastPort: number;
  /** Ports of the pool that one source may have, of each protocol. */
  portsPerSource: number;
  /** Most that a SYN may offer: what fits the device, or bytes, or as it is. */
  clampMss: 'auto' | 'off' | number;
}
