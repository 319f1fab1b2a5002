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
  MULTICAST_DESTINATION: 8,
  FRAGMENT: 9,
  BAD_EXTENSION_HEADER: 10,
  UNKNOWN_PROTOCOL: 11,
  // TCP
  BAD_TCP_HEADER: 12,
  BAD_TCP_CHECKSUM: 13,
  BAD_TCP_OPTION: 14,
  BAD_TCP_FLAGS: 15,
  NO_FLOW: 16,
  OUT_OF_WINDOW: 17,
  NO_ACK: 18,
  UNACCEPTABLE_ACK: 19,
  PAWS: 20,
  DUPLICATE: 21,
  OUT_OF_ORDER_LIMIT: 22,
  AFTER_CLOSE: 23,
  CHALLENGED: 24,
  // UDP and ICMP
  BAD_UDP_HEADER: 25,
  BAD_UDP_CHECKSUM: 26,
  BAD_ICMP_HEADER: 27,
  BAD_ICMP_CHECKSUM: 28,
  ICMP_NOT_FOR_US: 29,
  ICMP_RATE_LIMIT: 30,
  UDP_UNSUPPORTED: 31,
  // Limits and policy
  FLOW_TABLE_FULL: 32,
  HELD_SYN_LIMIT: 33,
  HELD_SYN_SOURCE_LIMIT: 34,
  HELD_SYN_REPEATED: 35,
  SLAB_BUDGET: 36,
  VERDICT_DROP: 37,
  DRAINING: 38,
  // The device
  DEVICE_WRITE_FAILED: 39,
} as const;

export type DropReason = (typeof DropReason)[keyof typeof DropReason];

/** Words of the reasons, by value: `flow-table-full`. */
export const DROP_REASON_NAMES: readonly string[] = Object.keys(DropReason).map((name) =>
  name.toLowerCase().replaceAll('_', '-'),
);

export const DROP_REASON_COUNT = DROP_REASON_NAMES.length;
