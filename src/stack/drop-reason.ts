/**
 * Why a packet ended here without reaching anybody. A closed set: the same word stands in the
 * metric `culvert_dropped_packets_total{reason}`, in `/v1/drops`, and in the logs. A value is an
 * index into the counters.
 */
export const DropReason = {
  NONE: 0,
  // The frame and the IP header
  FRAME_TOO_SHORT: 1,
  BAD_VNET_HEADER: 2,
  BAD_IP_VERSION: 3,
  BAD_IP_HEADER: 4,
  BAD_IP_CHECKSUM: 5,
  BAD_IP_LENGTH: 6,
  BAD_SOURCE_ADDRESS: 7,
  BAD_DESTINATION_ADDRESS: 8,
  MULTICAST_DESTINATION: 9,
  BAD_FRAGMENT: 10,
  FRAGMENT_OVERLAP: 11,
  FRAGMENT_TIMEOUT: 12,
  BAD_EXTENSION_HEADER: 13,
  UNKNOWN_PROTOCOL: 14,
  // TCP
  BAD_TCP_HEADER: 15,
  BAD_TCP_CHECKSUM: 16,
  BAD_TCP_OPTION: 17,
  BAD_TCP_FLAGS: 18,
  NO_FLOW: 19,
  OUT_OF_WINDOW: 20,
  NO_ACK: 21,
  UNACCEPTABLE_ACK: 22,
  PAWS: 23,
  DUPLICATE: 24,
  OUT_OF_ORDER_LIMIT: 25,
  AFTER_CLOSE: 26,
  CHALLENGED: 27,
  // UDP and ICMP
  BAD_UDP_HEADER: 28,
  BAD_UDP_CHECKSUM: 29,
  BAD_ICMP_HEADER: 30,
  BAD_ICMP_CHECKSUM: 31,
  BAD_ICMP_QUOTE: 32,
  ICMP_UNMATCHED: 33,
  ICMP_NOT_FOR_US: 34,
  /** An ICMP error that was due, and was not sent. */
  ICMP_RATE_LIMIT: 35,
  UDP_UNSUPPORTED: 36,
  // Limits and policy
  FLOW_TABLE_FULL: 37,
  HELD_SYN_LIMIT: 38,
  HELD_SYN_SOURCE_LIMIT: 39,
  HELD_SYN_REPEATED: 40,
  SLAB_BUDGET: 41,
  FRAGMENT_LIMIT: 42,
  RESET_RATE_LIMIT: 43,
  CHALLENGE_RATE_LIMIT: 44,
  /** Its client has a cookie, and the segment that brings it is still to come. */
  BEFORE_COOKIE: 45,
  VERDICT_DROP: 46,
  DRAINING: 47,
  // The device
  DEVICE_WRITE_FAILED: 48,
  // Flows that are tracked and not terminated
  /** Outside of the windows, or impossible in the flow's state. */
  CONNTRACK_INVALID: 49,
  CONNTRACK_SOURCE_LIMIT: 50,
  /** Too many packets wait for the verdict about their flow. */
  PARKED_LIMIT: 51,
  /** It does not fit the next link; its sender was told, if it asked to be. */
  PACKET_TOO_BIG: 52,
  /** The socket towards the upstream took no more. */
  UPSTREAM_FULL: 53,
  UPSTREAM_SEND_FAILED: 54,
  /** A datagram of an upstream, longer than any packet towards the client. */
  UPSTREAM_TOO_LONG: 55,
  HOP_LIMIT_EXCEEDED: 56,
  /** Its flow was refused within the last second; its sender was told as before. */
  REFUSED_AGAIN: 57,
  // Several queues
  /** It belongs to a flow of another queue, whose data plane is behind. */
  PEER_FULL: 58,
  /** It waited for a verdict, and its flow ended first. */
  FLOW_ENDED: 59,
  /** A ping of the gateway itself, of too many. */
  ECHO_RATE_LIMIT: 60,
  /** Its source has as many open connections as one may have. */
  FLOW_SOURCE_LIMIT: 61,
  /** Its flow got no socket, for the host has none left; the next datagram tries again. */
  DIAL_SHORTAGE: 62,
} as const;

export type DropReason = (typeof DropReason)[keyof typeof DropReason];

/** Words of the reasons, by value: `flow-table-full`. */
export const DROP_REASON_NAMES: readonly string[] = Object.keys(DropReason).map((name) =>
  name.toLowerCase().replaceAll('_', '-'),
);

export const DROP_REASON_COUNT = DROP_REASON_NAMES.length;
