import type { Instant } from '../time.ts';

/**
 * Who decides about flows, and owns the far side of those that end here: the splice to an upstream,
 * a datagram socket, or a service. The stack calls it while it handles a segment or a timer; a call
 * may use the stack for its own row only.
 *
 * The client is whoever is behind the device: of a connection that `connect` opened, the one that
 * was dialled.
 */
export interface FlowOwner {
  /** A new flow is held in this row; `accept`, `nat`, `admit` or `reject` answers it. */
  onFlow(row: number, now: Instant): void;
  /** Another datagram has come for the flow in this row, which waits for its verdict. */
  onParked(row: number): void;
  /** The deadline of `setDeadline` has passed: the decision or the dial takes too long. */
  onDeadline(row: number, now: Instant): void;
  /** The client finished the handshake. */
  onEstablished(row: number, now: Instant): void;
  /** The far end has answered: the connection that `connect` opened stands. */
  onConnected(row: number, now: Instant): void;
  /**
   * In-order bytes of the client lie in the arena during the call.
   *
   * @returns how many were taken; the stack keeps the rest until `drain`
   */
  onData(row: number, at: number, length: number, now: Instant): number;
  /** Behind bytes that were not taken more have come, or the client's FIN: see `Stack.waiting`. */
  onWaiting(row: number, now: Instant): void;
  /** The client sent FIN, and everything before it was taken. */
  onFin(row: number, now: Instant): void;
  /** There is room to send again. */
  onRoom(row: number, now: Instant): void;
  /**
   * Whether a static listener has flows to this destination rewritten at L3: they begin at once,
   * with no verdict asked for.
   *
   * @param protocol  IANA number
   */
  isNat(protocol: number, destinationAt: number, addressLength: number, port: number): boolean;
  /**
   * Whether a static listener in front of prefix rule `rule` (nat/prefix-nat.ts) decides about
   * flows to this destination.
   *
   * @param rule  as they were given to `Stack.setPrefixes`, from 0
   */
  isTakenBefore(
    rule: number,
    protocol: number,
    destinationAt: number,
    addressLength: number,
    port: number,
  ): boolean;
  /**
   * A datagram of a flow that was admitted lies in the arena during the call: the payload of UDP,
   * or a whole ICMP echo request.
   *
   * @param segmentBytes  of each of several datagrams but the last; 0 for one
   * @param hopLimit      as it arrived, above 1
   * @param mayFragment   routers may cut it: IPv4 without DF
   */
  onDatagram(
    row: number,
    at: number,
    length: number,
    segmentBytes: number,
    hopLimit: number,
    trafficClass: number,
    mayFragment: boolean,
    now: Instant,
  ): void;
  /** The flow ended; its row still tells why. The last call for it. */
  onClosed(row: number, now: Instant): void;
}
