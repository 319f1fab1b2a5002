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
  FRAGMENT: 10,
  BAD_EXTENSION_HEADER: 11,
  UNKNOWN_PROTOCOL: 12,
  // TCP
  BAD_TCP_HEADER: 13,
  BAD_TCP_CHECKSUM: 14,
  BAD_TCP_OPTION: 15,
  BAD_TCP_FLAGS: 16,
  NO_FLOW: 17,
  OUT_OF_WINDOW: 18,
  NO_ACK: 19,
  UNACCEPTABLE_ACK: 20,
  PAWS: 21,
  DUPLICATE: 22,
  OUT_OF_ORDER_LIMIT: 23,
  AFTER_CLOSE: 24,
  CHALLENGED: 25,
  // UDP and ICMP
  BAD_UDP_HEADER: 26,
  BAD_UDP_CHECKSUM: 27,
  BAD_ICMP_HEADER: 28,
  BAD_ICMP_CHECKSUM: 29,
  ICMP_NOT_FOR_US: 30,
  ICMP_RATE_LIMIT: 31,
  UDP_UNSUPPORTED: 32,
  // Limits and policy
  FLOW_TABLE_FULL: 33,
  HELD_SYN_LIMIT: 34,
  HELD_SYN_SOURCE_LIMIT: 35,
  HELD_SYN_REPEATED: 36,
  SLAB_BUDGET: 37,
  RESET_RATE_LIMIT: 38,
  CHALLENGE_RATE_LIMIT: 39,
  VERDICT_DROP: 40,
  DRAINING: 41,
  // The device
  DEVICE_WRITE_FAILED: 42,
} as const;

export type DropReason = (typeof DropReason)[keyof typeof DropReason];

/** Words of the reasons, by value: `flow-table-full`. */
export const DROP_REASON_NAMES: readonly string[] = Object.keys(DropReason).map((name) =>
  name.toLowerCase().replaceAll('_', '-'),
);

export const DROP_REASON_COUNT = DROP_REASON_NAMES.length;
