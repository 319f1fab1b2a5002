/**
 * Why a flow ended. A closed set: the same word stands in the flow's log line, in the metric
 * `culvert_flow_closed_total{reason}` and in the API.
 */
export const CloseReason = {
  NONE: 0,
  /** Both directions ended with FIN. */
  EOF: 1,
  CLIENT_RESET: 2,
  UPSTREAM_RESET: 3,
  /** No byte in either direction for the idle timeout. */
  IDLE: 4,
  /** One direction was closed and the other stayed silent. */
  HALF_CLOSE_TIMEOUT: 5,
  /** The client did not acknowledge until the retransmission limit. */
  RETRANSMIT_LIMIT: 6,
  KEEPALIVE: 7,
  /** The client never finished the handshake. */
  HANDSHAKE_TIMEOUT: 8,
  /** Verdicts of a listener or script. */
  REJECTED: 9,
  DROPPED: 10,
  /** All scripts declined, or none is loaded. */
  UNCLAIMED: 11,
  /** The script failed, was late, or was killed: the fallback verdict applied. */
  SCRIPT_FAILED: 12,
  /** The dial ended so. */
  DIAL_REFUSED: 13,
  DIAL_UNREACHABLE: 14,
  DIAL_TIMEOUT: 15,
  DIAL_LOOP: 16,
  DIAL_FAILED: 17,
  /** The operator, over the API. */
  KILLED: 18,
  /** The drain deadline passed. */
  DRAIN: 19,
  /** A limit of the gateway (slabs, fds, bytes of the flow). */
  LIMIT: 20,
  /** The data plane was restarted. */
  RESTART: 21,
  /** The client gave up while its SYN was held. */
  CLIENT_GONE: 22,
  /** An ICMP error said so: before the client had finished the handshake, or about a datagram. */
  CLIENT_UNREACHABLE: 23,
  /** The client did not acknowledge within the user timeout. */
  USER_TIMEOUT: 24,
  /** Nobody wants the connection any more that was being dialled: another was faster. */
  DIAL_ABANDONED: 25,
  /** No address or port is left to translate to. */
  NAT_EXHAUSTED: 26,
  /** It had no reply yet, and gave way to a new flow when the table was full. */
  EARLY_DROP: 27,
  /** The verdict cannot be carried out for a flow of this kind or family. */
  VERDICT_UNFIT: 28,
  /** The script ended the connection that it had claimed, with a reset. */
  ABORTED: 29,
  /** The proxy of an upstream refused us, or does not speak its protocol. */
  PROXY_FAILED: 30,
  /** Its source has as many ports of the pool as one may have. */
  NAT_PORT_LIMIT: 31,
  /** This host lacks descriptors, memory or ports for the socket of its datagrams. */
  DIAL_SHORTAGE: 32,
  /** Other scripts were loaded: they would decide otherwise, or the time of its own is over. */
  RELOADED: 33,
  /** Refused, and held in the tarpit for as long as it lasted. */
  TARPIT: 34,
} as const;

export type CloseReason = (typeof CloseReason)[keyof typeof CloseReason];

/** Words of the reasons, by value: `upstream-reset`. */
export const CLOSE_REASON_NAMES: readonly string[] = Object.keys(CloseReason).map((name) =>
  name.toLowerCase().replaceAll('_', '-'),
);

export const CLOSE_REASON_COUNT = CLOSE_REASON_NAMES.length;
