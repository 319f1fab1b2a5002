/**
 * The row of a flow: the one format in which a flow is kept, read by the API while it lives, and
 * reported when it ends. Rows lie in the arena; another process may read them at any time, so a
 * reader checks `serial` before and after. All fields are in host byte order (little-endian).
 */
import type { CloseReason } from './close-reason.ts';
import { CLOSE_REASON_NAMES } from './close-reason.ts';
import { TCP_STATE_NAMES } from './tcp/states.ts';
import type { Instant } from './time.ts';
import type { Endpoint, FlowProtocol } from './verdict.ts';
import { formatAddress } from './wire/ip-address.ts';
import { Protocol } from './wire/protocol.ts';

/** Offsets in bytes. */
export const FlowField = {
  /** float64; 0 while the row is free. */
  SERIAL: 0,
  /** float64 Instants. */
  STARTED_AT: 8,
  LAST_USED_AT: 16,
  /** float64 counts: payload bytes and packets, up is client to upstream. */
  BYTES_UP: 24,
  BYTES_DOWN: 32,
  PACKETS_UP: 40,
  PACKETS_DOWN: 48,
  /** 16 bytes each, in network order; an IPv4 address takes the first four, the rest is zero. */
  SOURCE: 56,
  DESTINATION: 72,
  UPSTREAM: 88,
  /** uint16 */
  SOURCE_PORT: 104,
  DESTINATION_PORT: 106,
  UPSTREAM_PORT: 108,
  /** uint8: 4 or 6. */
  FAMILY: 110,
  /** uint8: IANA protocol number. */
  PROTOCOL: 111,
  /** uint8: 4, 6, or 0 before a dial. */
  UPSTREAM_FAMILY: 112,
  /** uint8: FlowPhase. */
  PHASE: 113,
  /** uint8: TcpState. */
  TCP_STATE: 114,
  /** uint8: VerdictCode. */
  VERDICT: 115,
  /** uint8: Decider. */
  DECIDER: 116,
  /** uint8: CloseReason. */
  CLOSE_REASON: 117,
  /** uint8: ClosedBy. */
  CLOSED_BY: 118,
  /** uint8: Service, the in-process service that answers. */
  SERVICE: 119,
  /** uint32: generation of scripts or of the configuration. */
  GENERATION: 120,
  /** uint32: position of the script or listener in its list. */
  DECIDER_INDEX: 124,
  /** int32: next row of the hash chain, or of the free list; -1 at the end. */
  NEXT: 128,
  /** uint32 */
  HASH: 132,
  /** uint32: segments sent again. */
  RETRANSMITS: 136,
  /** uint32, microseconds: smoothed round-trip time. */
  SRTT_US: 140,
  /** uint32, microseconds the dial and the decision took. */
  CONNECT_US: 144,
  DECISION_US: 148,
  /** uint32, milliseconds; 0 is never. */
  IDLE_TIMEOUT_MS: 152,
  HALF_CLOSE_TIMEOUT_MS: 156,
  /** float64; 0 is no limit. */
  MAX_BYTES: 160,
  /** uint8: TTL or hop limit of the first packet. */
  SYN_HOP_LIMIT: 168,
  /** uint8: Carrier. */
  CARRIER: 169,
  /** uint8: TrackState, of a flow that is not terminated by our TCP. */
  TRACK_STATE: 170,
  /** uint8: bits of TrackBit. */
  TRACK_BITS: 171,
  /** int32: row of the NAT mapping and one more; 0 for none. See nat/mappings.ts. */
  MAPPING: 172,
  /** 16 bytes: the source that the upstream of a NAT flow sees, and so where replies go. */
  NAT_SOURCE: 176,
  /** uint16: its port, or the identifier of an ICMP echo. */
  NAT_SOURCE_PORT: 192,
  /** uint16: window of the last SYN that was let through unexamined; see conntrack/tcp-track.ts. */
  LAST_WINDOW: 194,
  /** uint16, in its place, of a flow that is not rewritten: number of the upstream; 0: direct. */
  VIA: 194,
  /** int32, uint32: as NEXT and HASH, of the tuple of replies. */
  REPLY_NEXT: 196,
  REPLY_HASH: 200,
  /** uint32: first slab of the packets that wait for a verdict, and one more; 0 for none. */
  PARKED: 204,
  /** float64 Instant: from then on the flow is no more; conntrack/reaper.ts takes it out. */
  EXPIRES_AT: 208,
  /** What conntrack/tcp-window.ts knows of the two senders; 16 bytes each, uint32. */
  WINDOW_ORIGINAL: 216,
  /** uint32, microseconds to the first byte of the upstream; of flows that NAT does not carry. */
  FIRST_BYTE_US: 216,
  /** uint8: Handshake, of TCP that is not rewritten. */
  HANDSHAKE: 220,
  WINDOW_REPLY: 232,
  /**
   * uint8 each: bits of SenderBit for the two senders, bits of LastBit, event and options of the
   * last segment. uint32: where its sequence numbers ended. See conntrack/tcp-track.ts.
   */
  SCALE_ORIGINAL: 248,
  SCALE_REPLY: 249,
  LAST_BITS: 250,
  LAST_EVENT: 251,
  LAST_SEQ: 252,
} as const;

export const FLOW_ROW_BYTES = 256;

/** Who carries the packets of a flow. */
export const Carrier = {
  /** Nobody yet: it waits for a verdict. */
  NONE: 0,
  /** Terminated by our TCP, and spliced to an upstream or answered by a service. */
  TCP: 1,
  /** Rewritten at L3, and handed back to the kernel. */
  NAT: 2,
  /** UDP or ICMP echo over a socket of the gateway. */
  SESSION: 3,
} as const;
export type Carrier = (typeof Carrier)[keyof typeof Carrier];
export const CARRIER_NAMES = Object.keys(Carrier).map((n) => n.toLowerCase());

/**
 * How far a flow has come that we only watch: TCP as the kernel's nf_conntrack names its states
 * (include/uapi/linux/netfilter/nf_conntrack_tcp.h), the others by what was seen of them.
 */
export const TrackState = {
  NONE: 0,
  SYN_SENT: 1,
  SYN_RECV: 2,
  ESTABLISHED: 3,
  FIN_WAIT: 4,
  CLOSE_WAIT: 5,
  LAST_ACK: 6,
  TIME_WAIT: 7,
  CLOSE: 8,
  /** Both ends sent a SYN. */
  SYN_SENT2: 9,
  /** UDP, ICMP and others: one direction was seen, both were, both and more than once. */
  UNREPLIED: 10,
  REPLIED: 11,
  STREAM: 12,
} as const;
export type TrackState = (typeof TrackState)[keyof typeof TrackState];
/** As `conntrack -L` prints them: `SYN_SENT`. */
export const TRACK_STATE_NAMES = Object.keys(TrackState);

export const TrackBit = {
  /** A packet of the reply direction was seen: IPS_SEEN_REPLY. */
  SEEN_REPLY: 1,
  /** It is not dropped early when the table is full: IPS_ASSURED. */
  ASSURED: 2,
  /** Source, destination is rewritten: IPS_SRC_NAT, IPS_DST_NAT. */
  SOURCE_NAT: 4,
  DESTINATION_NAT: 8,
  /** It was picked up in the middle: windows are not checked. */
  LIBERAL: 16,
  /** The tuple of replies is in the table. */
  HAS_REPLY: 32,
} as const;

/** The life of a flow, as `culvert flows` prints it. */
export const FlowPhase = {
  FREE: 0,
  /** The scripts decide; the SYN is held, or its client came back with a cookie and waits. */
  DECIDING: 1,
  /** The upstream is dialled, and the client waits as before. */
  DIALING: 2,
  /** SYN-ACK sent; or SYN, by a flow that the stack opened. */
  HANDSHAKE: 3,
  OPEN: 4,
  /** A FIN was seen in at least one direction. */
  CLOSING: 5,
  TIME_WAIT: 6,
} as const;
export type FlowPhase = (typeof FlowPhase)[keyof typeof FlowPhase];
export const PHASE_NAMES = Object.keys(FlowPhase).map((n) => n.toLowerCase().replaceAll('_', '-'));

export const VerdictCode = {
  NONE: 0,
  DECLINE: 1,
  REJECT: 2,
  DROP: 3,
  FORWARD: 4,
  REDIRECT: 5,
  NAT: 6,
  CLAIM: 7,
} as const;
export type VerdictCode = (typeof VerdictCode)[keyof typeof VerdictCode];
export const VERDICT_NAMES = Object.keys(VerdictCode).map((n) => n.toLowerCase());

export const Decider = { NONE: 0, LISTENER: 1, SCRIPT: 2, FALLBACK: 3 } as const;
export type Decider = (typeof Decider)[keyof typeof Decider];
export const DECIDER_NAMES = Object.keys(Decider).map((n) => n.toLowerCase());

/** When the SYN of a client is answered. */
export const Handshake = {
  NONE: 0,
  DIAL_FIRST: 1,
  ACCEPT_FIRST: 2,
  /** Before anybody was asked: there were too many SYNs. */
  COOKIE: 3,
} as const;
export type Handshake = (typeof Handshake)[keyof typeof Handshake];
/** By value of `Handshake`: `dial-first`. */
export const HANDSHAKE_NAMES = Object.keys(Handshake).map((n) =>
  n.toLowerCase().replaceAll('_', '-'),
);

/** Who ended the flow; RELOAD and LIMIT are the gateway, when it had such a cause. */
export const ClosedBy = {
  NONE: 0,
  CLIENT: 1,
  UPSTREAM: 2,
  GATEWAY: 3,
  SCRIPT: 4,
  RELOAD: 5,
  LIMIT: 6,
} as const;
export type ClosedBy = (typeof ClosedBy)[keyof typeof ClosedBy];
const CLOSED_BY_NAMES = Object.keys(ClosedBy).map((n) => n.toLowerCase());

export const Service = {
  /** A splice to an upstream socket, or nobody yet. */
  NONE: 0,
  WELCOME: 1,
  /** The script that claimed the flow, until it splices. */
  SCRIPT: 2,
  /** A splice to a connection that was dialled into the device. */
  RELAY: 3,
  /** Nobody: the client is refused, and held. */
  TARPIT: 4,
} as const;
export type Service = (typeof Service)[keyof typeof Service];
/** By value of `Service`: `welcome`. */
export const SERVICE_NAMES = Object.keys(Service).map((n) => n.toLowerCase());

/** A row as a plain value, for the control plane. */
export interface FlowSnapshot {
  readonly serial: number;
  /** `tcp`, `udp`, `icmp`, or the IANA number of another protocol. */
  readonly protocol: string;
  readonly carrier: string;
  /** Of a flow that is not terminated here: `SYN_SENT`; `NONE` for others. */
  readonly trackState: string;
  readonly isAssured: boolean;
  readonly hasReply: boolean;
  /** The source that the upstream sees, when it is not the client. */
  readonly natSource: Endpoint | undefined;
  /** 0: it does not expire by itself. */
  readonly expiresAt: Instant;
  readonly phase: string;
  /** As RFC 9293 prints them: `FIN-WAIT-1`. */
  readonly tcpState: string;
  readonly source: Endpoint;
  readonly destination: Endpoint;
  readonly upstream: Endpoint | undefined;
  /** Number of the upstream that has a name; 0 for none. */
  readonly via: number;
  readonly service: string | undefined;
  readonly verdict: string;
  readonly decider: string;
  readonly deciderIndex: number;
  readonly generation: number;
  readonly bytesUp: number;
  readonly bytesDown: number;
  readonly packetsUp: number;
  readonly packetsDown: number;
  readonly retransmits: number;
  readonly srttUs: number;
  readonly connectUs: number;
  readonly decisionUs: number;
  /** 0 when none came, or it was not measured. */
  readonly firstByteUs: number;
  /** `dial-first`, `accept-first`, `cookie`; undefined where there is none. */
  readonly handshake: string | undefined;
  readonly startedAt: Instant;
  readonly lastUsedAt: Instant;
  readonly closeReason: string;
  readonly closedBy: string;
}

/** Link and hash of the reply tuple lie this far behind those of the original one. */
export const REPLY_FIELDS = FlowField.REPLY_NEXT - FlowField.NEXT;

/** By IANA number; both ICMPs are one to a user. */
export const PROTOCOL_NAMES: Readonly<Record<number, FlowProtocol>> = {
  [Protocol.TCP]: 'tcp',
  [Protocol.UDP]: 'udp',
  [Protocol.ICMP]: 'icmp',
  [Protocol.ICMPV6]: 'icmp',
};

/** Of services and handshakes, where NONE has no name. */
const nameOf = (names: readonly string[], code: number): string | undefined =>
  code === 0 ? undefined : names[code];

function endpoint(view: DataView, addressAt: number, family: number, port: number): Endpoint {
  return {
    ip: formatAddress(view, addressAt, family === 6 ? 16 : 4),
    port,
    family: family === 6 ? 6 : 4,
  };
}

/** Word of the row's verdict: `forward`. */
export const flowVerdict = (view: DataView, at: number): string =>
  VERDICT_NAMES[view.getUint8(at + FlowField.VERDICT)] ?? 'unknown';

/** Microseconds from the SYN to the last use, which for an ended flow is its end. */
export const flowDurationUs = (view: DataView, at: number): number =>
  view.getFloat64(at + FlowField.LAST_USED_AT, true) -
  view.getFloat64(at + FlowField.STARTED_AT, true);

/** Number of the upstream by which the flow goes; 0 for none. */
export const flowVia = (view: DataView, at: number): number =>
  view.getUint8(at + FlowField.CARRIER) === Carrier.NAT
    ? 0
    : view.getUint16(at + FlowField.VIA, true);

/** A `Handshake`. */
export const flowHandshake = (view: DataView, at: number): number =>
  view.getUint8(at + FlowField.CARRIER) === Carrier.NAT
    ? Handshake.NONE
    : view.getUint8(at + FlowField.HANDSHAKE);

/** Notes when a client is answered; one that came back with a cookie has been. */
export function noteHandshake(view: DataView, at: number, handshake: Handshake): void {
  if (view.getUint8(at + FlowField.HANDSHAKE) === Handshake.COOKIE) return;
  view.setUint8(at + FlowField.HANDSHAKE, handshake);
}

/** Decodes the row at `at`; undefined when it is free or changed hands while it was read. */
export function readFlowRow(view: DataView, at: number): FlowSnapshot | undefined {
  const serial = view.getFloat64(at + FlowField.SERIAL, true);
  if (serial === 0) return undefined;
  const u8 = (field: number) => view.getUint8(at + field);
  const u16 = (field: number) => view.getUint16(at + field, true);
  const u32 = (field: number) => view.getUint32(at + field, true);
  const f64 = (field: number) => view.getFloat64(at + field, true);
  const family = u8(FlowField.FAMILY);
  const upstreamFamily = u8(FlowField.UPSTREAM_FAMILY);
  const snapshot: FlowSnapshot = {
    serial,
    protocol: PROTOCOL_NAMES[u8(FlowField.PROTOCOL)] ?? String(u8(FlowField.PROTOCOL)),
    carrier: CARRIER_NAMES[u8(FlowField.CARRIER)] ?? 'unknown',
    trackState: TRACK_STATE_NAMES[u8(FlowField.TRACK_STATE)] ?? 'unknown',
    isAssured: (u8(FlowField.TRACK_BITS) & TrackBit.ASSURED) !== 0,
    hasReply: (u8(FlowField.TRACK_BITS) & TrackBit.SEEN_REPLY) !== 0,
    natSource:
      (u8(FlowField.TRACK_BITS) & TrackBit.SOURCE_NAT) === 0
        ? undefined
        : endpoint(view, at + FlowField.NAT_SOURCE, family, u16(FlowField.NAT_SOURCE_PORT)),
    expiresAt: f64(FlowField.EXPIRES_AT) as Instant,
    phase: PHASE_NAMES[u8(FlowField.PHASE)] ?? 'unknown',
    tcpState: TCP_STATE_NAMES[u8(FlowField.TCP_STATE)] ?? 'unknown',
    source: endpoint(view, at + FlowField.SOURCE, family, u16(FlowField.SOURCE_PORT)),
    destination: endpoint(
      view,
      at + FlowField.DESTINATION,
      family,
      u16(FlowField.DESTINATION_PORT),
    ),
    upstream:
      upstreamFamily === 0
        ? undefined
        : endpoint(view, at + FlowField.UPSTREAM, upstreamFamily, u16(FlowField.UPSTREAM_PORT)),
    via: flowVia(view, at),
    service: nameOf(SERVICE_NAMES, u8(FlowField.SERVICE)),
    verdict: flowVerdict(view, at),
    decider: DECIDER_NAMES[u8(FlowField.DECIDER)] ?? 'unknown',
    deciderIndex: u32(FlowField.DECIDER_INDEX),
    generation: u32(FlowField.GENERATION),
    bytesUp: f64(FlowField.BYTES_UP),
    bytesDown: f64(FlowField.BYTES_DOWN),
    packetsUp: f64(FlowField.PACKETS_UP),
    packetsDown: f64(FlowField.PACKETS_DOWN),
    retransmits: u32(FlowField.RETRANSMITS),
    srttUs: u32(FlowField.SRTT_US),
    connectUs: u32(FlowField.CONNECT_US),
    decisionUs: u32(FlowField.DECISION_US),
    firstByteUs: u8(FlowField.CARRIER) === Carrier.NAT ? 0 : u32(FlowField.FIRST_BYTE_US),
    handshake: nameOf(HANDSHAKE_NAMES, flowHandshake(view, at)),
    startedAt: f64(FlowField.STARTED_AT) as Instant,
    lastUsedAt: f64(FlowField.LAST_USED_AT) as Instant,
    closeReason: CLOSE_REASON_NAMES[u8(FlowField.CLOSE_REASON) as CloseReason] ?? 'unknown',
    closedBy: CLOSED_BY_NAMES[u8(FlowField.CLOSED_BY)] ?? 'unknown',
  };
  return view.getFloat64(at + FlowField.SERIAL, true) === serial ? snapshot : undefined;
}
