/**
 * What the data plane keeps beside each session, in columns. Unlike flow rows it need not outlive
 * the process: the sockets do not either.
 */
import { CloseReason } from '../../../stack/close-reason.ts';

export const SessionKind = {
  NONE: 0,
  UDP: 1,
  /** An echo over a ping socket: the kernel chooses the identifier. */
  PING: 2,
  /** An echo over a raw socket: we do. */
  RAW_ECHO: 3,
} as const;
export type SessionKind = (typeof SessionKind)[keyof typeof SessionKind];

/** What was set on the socket about datagrams that are longer than the path takes. */
export const PathMode = { UNKNOWN: 0, FRAGMENT: 1, DO_NOT_FRAGMENT: 2 } as const;

/** Any datagram may be sent together with others. */
const NO_SEGMENT_LIMIT = 0xffff;

export class SessionTable {
  readonly kind: Uint8Array;
  /** TTL and traffic class that are set on the socket; 0 is none yet, which no datagram has. */
  readonly hopLimit: Uint8Array;
  readonly trafficClass: Uint8Array;
  /** A value of `PathMode`. */
  readonly pathMode: Uint8Array;
  /**
   * 1: an IPv6 client was told how long a packet may be. What it sends and is longer came in
   * fragments, and was put together here; so it may go on in fragments.
   */
  readonly toldTooBig: Uint8Array;
  /** Datagrams longer than that go alone: the kernel does not send them with others. */
  readonly segmentLimit: Uint16Array;
  /** Identifier of the echo on the side of the upstream. */
  readonly identifier: Uint16Array;
  /** `CloseReason` with which the session ends as soon as the stack is not in the middle of it. */
  readonly ending: Uint8Array;

  constructor(rows: number) {
    this.kind = new Uint8Array(rows);
    this.hopLimit = new Uint8Array(rows);
    this.trafficClass = new Uint8Array(rows);
    this.pathMode = new Uint8Array(rows);
    this.toldTooBig = new Uint8Array(rows);
    this.segmentLimit = new Uint16Array(rows);
    this.identifier = new Uint16Array(rows);
    this.ending = new Uint8Array(rows);
  }

  begin(row: number, kind: SessionKind): void {
    this.kind[row] = kind;
    this.hopLimit[row] = 0;
    this.trafficClass[row] = 0;
    this.pathMode[row] = PathMode.UNKNOWN;
    this.toldTooBig[row] = 0;
    this.segmentLimit[row] = NO_SEGMENT_LIMIT;
    this.identifier[row] = 0;
    this.ending[row] = CloseReason.NONE;
  }
}
