import { TrackState } from '../flow-row.ts';
import { type Duration, seconds } from '../time.ts';
import { Protocol } from '../wire/protocol.ts';

/** How long a flow lives after its last packet, by what was seen of it. */
export interface TrackTimeouts {
  tcpSynSent: Duration;
  tcpSynReceived: Duration;
  tcpEstablished: Duration;
  tcpFinWait: Duration;
  tcpCloseWait: Duration;
  tcpLastAck: Duration;
  tcpTimeWait: Duration;
  tcpClose: Duration;
  /** At most so long while data waits for its acknowledgment, or nothing but repetitions come. */
  tcpUnacknowledged: Duration;
  /** One direction was seen, or both for less than STREAM_AFTER_US. */
  udp: Duration;
  udpStream: Duration;
  /** UDP to port 53. */
  dns: Duration;
  icmp: Duration;
  /** All other protocols. */
  generic: Duration;
}

/**
 * As Linux has them (net.netfilter.nf_conntrack_*_timeout*), but for two. An established TCP flow
 * is kept for 2 h 4 min, the least that RFC 5382 REQ-5 allows, and not for five days, in which an
 * edge collects dead flows. A DNS query is one packet and its answer.
 */
export const DEFAULT_TIMEOUTS: Readonly<TrackTimeouts> = {
  tcpSynSent: seconds(120),
  tcpSynReceived: seconds(60),
  tcpEstablished: seconds(7440),
  tcpFinWait: seconds(120),
  tcpCloseWait: seconds(60),
  tcpLastAck: seconds(30),
  tcpTimeWait: seconds(120),
  tcpClose: seconds(10),
  tcpUnacknowledged: seconds(300),
  udp: seconds(30),
  udpStream: seconds(120),
  dns: seconds(10),
  icmp: seconds(30),
  generic: seconds(600),
};

/** A UDP flow in both directions is a stream when it lives so long; as in Linux. */
export const STREAM_AFTER_US = seconds(2);

const DNS_PORT = 53;

/** Of a TCP flow in `state`. */
export function tcpTimeout(timeouts: TrackTimeouts, state: TrackState): Duration {
  switch (state) {
    case TrackState.ESTABLISHED:
      return timeouts.tcpEstablished;
    case TrackState.SYN_RECV:
      return timeouts.tcpSynReceived;
    case TrackState.FIN_WAIT:
      return timeouts.tcpFinWait;
    case TrackState.CLOSE_WAIT:
      return timeouts.tcpCloseWait;
    case TrackState.LAST_ACK:
      return timeouts.tcpLastAck;
    case TrackState.TIME_WAIT:
      return timeouts.tcpTimeWait;
    case TrackState.CLOSE:
      return timeouts.tcpClose;
    default:
      return timeouts.tcpSynSent;
  }
}

/**
 * Of a flow that is not TCP.
 *
 * @param port  the original destination's
 */
export function datagramTimeout(
  timeouts: TrackTimeouts,
  protocol: number,
  port: number,
  state: TrackState,
): Duration {
  switch (protocol) {
    case Protocol.UDP:
      if (port === DNS_PORT) return timeouts.dns;
      return state === TrackState.STREAM ? timeouts.udpStream : timeouts.udp;
    case Protocol.ICMP:
    case Protocol.ICMPV6:
      return timeouts.icmp;
    default:
      return timeouts.generic;
  }
}
