/** Codepoints of the two ECN bits of an IP header, RFC 3168 §5. */
export const Ecn = {
  NOT_ECT: 0,
  ECT_1: 1,
  ECT_0: 2,
  /** A router on the path was congested. */
  CE: 3,
} as const;
/** The bits of a traffic class that are ECN. */
export const ECN_MASK = 0b11;
export type Ecn = (typeof Ecn)[keyof typeof Ecn];
