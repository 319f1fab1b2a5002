/**
 * Datagrams about claimed connections, between the data plane and a script host, over a socket pair
 * of their own. Fixed layouts, little-endian, one datagram a message.
 *
 * A conn is named by a number of the data plane's choosing, unique for its life; a socket that its
 * script dials by one of the host's choosing, unique within the conn. Conns from FIRST_OWN_CONN on
 * are named by the host: they have sockets and no client. Such a conn begins with its first DIAL,
 * and is over when it has no socket left, by ABORT of CLIENT_END at once.
 *
 * An `end` is CLIENT_END or the number of a socket. Both sides keep what is not granted where it
 * is: the data plane sends DATA as far as WANT goes, the host has at most CONN_WINDOW_BYTES of an
 * end's WRITEs without ROOM.
 *
 *   data plane → host                               host → data plane
 *   STARTED  conns of other epochs are gone         WANT    credit for DATA of an end; 0 at first
 *   OPENED   the client finished the handshake      PEEK    asks for PEEKED; replaces an older one
 *   PEEKED   what waits, not consumed               WRITE   bytes for an end
 *   DATA     bytes of an end, consumed              FIN     no more WRITE to this end
 *   FIN      no more DATA of this end               ABORT   the end sees a reset
 *   ROOM     bytes of WRITE were taken over         CLOSE   nobody wants what this end still sends
 *   DIALED   how a DIAL ended                       DIAL    opens a socket
 *   CLOSED   an end is no more                      SPLICE  conn and socket, from now on native
 *
 * After CLOSED of CLIENT_END nothing comes for the conn; it says what the flow moved, and what is
 * left of the conn's sockets goes with it. Behind SPLICE nothing comes but that, and nothing is
 * heard but ABORT. Messages for what is gone have crossed with CLOSED, and are ignored.
 *
 * DATA may be on its way while the host takes its credit back. What was read of one end belongs to
 * the other before a SPLICE. So a host sends WANT 0, and behind it a PEEK without time, whose
 * answer comes behind the last DATA; then it writes back what it has, and splices.
 *
 * `epoch` is that of the script host in its low half, and in its high half a number that a data
 * plane chooses when it starts (`connEpoch`). A host learns the latter from STARTED, and from any
 * message that has its own half; it answers each message's conn with the message's epoch.
 *
 * Written by conn-encode.ts, read by conn-decode.ts.
 */

/** First byte of every datagram. */
export const ConnKind = {
  STARTED: 1,
  OPENED: 2,
  PEEKED: 3,
  DATA: 4,
  FIN: 5,
  ROOM: 6,
  DIALED: 7,
  CLOSED: 8,
  WANT: 9,
  PEEK: 10,
  WRITE: 11,
  ABORT: 12,
  CLOSE: 13,
  DIAL: 14,
  SPLICE: 15,
} as const;
export type ConnKind = (typeof ConnKind)[keyof typeof ConnKind];

/** The `end` that is the client; sockets have other numbers. */
export const CLIENT_END = 0;
/** First of the conns without a client: the highest byte of a claim's conn is never 255. */
export const FIRST_OWN_CONN = 0xff00_0000;

/** Sockets that a conn may have at a time, dials included. */
export const CONN_SOCKETS_MAX = 4;
/** The same of a conn without a client. */
export const OWN_CONN_SOCKETS_MAX = 256;
/** Longest run of bytes in one datagram; also the most that a PEEK may ask for. */
export const CONN_PAYLOAD_BYTES_MAX = 16_384;
/** What the host may have written to an end without ROOM for it; more ends the conn. */
export const CONN_WINDOW_BYTES = 65_536;

/** Offsets in bytes. */
export const HeadField = {
  KIND: 0,
  /** Bits of PeekedFlag; DialResult; CloseReason of stack/close-reason.ts, of CLOSED and ABORT. */
  DETAIL: 1,
  /** uint16: number of a PEEK, and of its PEEKED. */
  PEEK: 2,
  CONN: 4,
  EPOCH: 8,
  END: 12,
} as const;
/** Where bytes begin, of PEEKED, DATA and WRITE. */
export const CONN_PAYLOAD_AT = 16;
/** Longest datagram in bytes. */
export const CONN_BYTES_MAX = CONN_PAYLOAD_AT + CONN_PAYLOAD_BYTES_MAX;

/** Offsets of what follows the head, by kind. Addresses as in messages/decision.ts. */
export const OpenedField = { REQUEST_ID: 16, GENERATION: 20, FLOW: 24, SCRIPT: 32 } as const;
export const ClosedField = { REQUEST_ID: 16, BYTES_UP: 24, BYTES_DOWN: 32 } as const;
export const CreditField = { BYTES: 16 } as const;
export const PeekField = { MIN: 16, MAX: 20, TIMEOUT_MS: 24 } as const;
export const SpliceField = {
  IDLE_TIMEOUT_MS: 16,
  HALF_CLOSE_TIMEOUT_MS: 20,
  MAX_BYTES: 24,
} as const;
export const DialedField = {
  LOCAL: 16,
  REMOTE: 32,
  LOCAL_FAMILY: 48,
  REMOTE_FAMILY: 49,
  LOCAL_PORT: 50,
  REMOTE_PORT: 52,
} as const;
export const DialField = {
  TARGET: 16,
  BIND: 32,
  FAMILY: 48,
  BIND_FAMILY: 49,
  PORT: 50,
  MARK: 52,
  TIMEOUT_MS: 56,
  HAS_MARK: 60,
  PROXY_PROTOCOL: 61,
  INTO_DEVICE: 62,
} as const;

/** Length in bytes by kind; 0 where bytes follow the head. */
export const CONN_LENGTHS: Readonly<Record<number, number>> = {
  [ConnKind.STARTED]: 16,
  [ConnKind.OPENED]: 36,
  [ConnKind.PEEKED]: 0,
  [ConnKind.DATA]: 0,
  [ConnKind.FIN]: 16,
  [ConnKind.ROOM]: 20,
  [ConnKind.DIALED]: 56,
  [ConnKind.CLOSED]: 40,
  [ConnKind.WANT]: 20,
  [ConnKind.PEEK]: 28,
  [ConnKind.WRITE]: 0,
  [ConnKind.ABORT]: 16,
  [ConnKind.CLOSE]: 16,
  [ConnKind.DIAL]: 64,
  [ConnKind.SPLICE]: 32,
};

/** Bits of a PEEKED's `detail`. */
export const PeekedFlag = {
  /** The end sends no more: these are its last bytes. */
  FIN: 1,
  /** The time-out came first. */
  TIMED_OUT: 2,
} as const;

/** `detail` of a DIALED. */
export const DialResult = {
  OK: 0,
  REFUSED: 1,
  UNREACHABLE: 2,
  TIMEOUT: 3,
  /** The packets would come back into the gateway's own device. */
  LOOP: 4,
  /** Of the conn's sockets, of all dials, or of descriptors. */
  LIMIT: 5,
  /** For another reason: a local address that is not ours, a family that the machine lacks. */
  FAILED: 6,
} as const;
export type DialResult = (typeof DialResult)[keyof typeof DialResult];

/** The host's half of an epoch, and the data plane's. */
export const connEpoch = (host: number, dataPlane: number): number =>
  (((dataPlane & 0xffff) << 16) | (host & 0xffff)) >>> 0;
/** Whether a message is for the script host of this epoch. */
export const isEpochOfHost = (epoch: number, host: number): boolean =>
  (epoch & 0xffff) === (host & 0xffff);
