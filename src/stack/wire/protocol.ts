/** IANA "Assigned Internet Protocol Numbers": the ones that this stack looks at. */
export const Protocol = {
  HOP_BY_HOP: 0,
  ICMP: 1,
  TCP: 6,
  UDP: 17,
  DCCP: 33,
  ROUTING: 43,
  FRAGMENT: 44,
  ICMPV6: 58,
  /** Nothing follows: RFC 8200 §4.7. */
  NO_NEXT_HEADER: 59,
  DESTINATION_OPTIONS: 60,
  UDP_LITE: 136,
} as const;
export type Protocol = (typeof Protocol)[keyof typeof Protocol];
