/**
 * What a segment makes of a TCP connection that is watched from between its ends: the states and
 * edges of the kernel's nf_conntrack (net/netfilter/nf_conntrack_proto_tcp.c). A watcher knows what
 * it has let through, not what has arrived; so a state is named after the last thing that was seen,
 * and a segment that may be right, although it fits no edge, passes without one.
 */
import { TrackState } from '../flow-row.ts';
import { TcpFlag } from '../wire/tcp.ts';

/** What a segment is to the watcher; the first that applies of RST, SYN, FIN, ACK. */
export const TcpEvent = { SYN: 0, SYN_ACK: 1, FIN: 2, ACK: 3, RST: 4, NONE: 5 } as const;
export type TcpEvent = (typeof TcpEvent)[keyof typeof TcpEvent];
const EVENTS = 6;

/** In place of a state: the segment passes and changes nothing; it does not pass. */
export const IGNORE = 0xfe;
export const INVALID = 0xff;
/** A state, IGNORE or INVALID. */
export type TcpStep = TrackState | typeof IGNORE | typeof INVALID;

const STATES = TrackState.SYN_SENT2 + 1;

const { NONE, SYN_SENT, SYN_RECV, ESTABLISHED, FIN_WAIT } = TrackState;
const { CLOSE_WAIT, LAST_ACK, TIME_WAIT, CLOSE, SYN_SENT2 } = TrackState;

type Steps = Readonly<Record<number, TcpStep>>;

/** The next states by state; `otherwise` stands for those that are not named. */
interface Rule {
  readonly otherwise: TcpStep;
  readonly steps: Steps;
}

/** The first FIN, the second, and those that come again. */
const FIN: Rule = {
  otherwise: INVALID,
  steps: {
    [SYN_RECV]: FIN_WAIT,
    [ESTABLISHED]: FIN_WAIT,
    [FIN_WAIT]: LAST_ACK,
    [CLOSE_WAIT]: LAST_ACK,
    [LAST_ACK]: LAST_ACK,
    [TIME_WAIT]: TIME_WAIT,
    [CLOSE]: CLOSE,
  },
};

/** In every state that something was seen in; tcp-track.ts asks more of it. */
const RST: Rule = { otherwise: CLOSE, steps: { [NONE]: INVALID } };

/** No flags: not a segment of RFC 9293. */
const NO_FLAGS: Rule = { otherwise: INVALID, steps: {} };

/** An acknowledgment where both directions do the same with it. */
const ACK_STEPS: Steps = {
  [ESTABLISHED]: ESTABLISHED,
  [FIN_WAIT]: CLOSE_WAIT,
  [CLOSE_WAIT]: CLOSE_WAIT,
  // The second FIN is acknowledged; for all we know by the right end.
  [LAST_ACK]: TIME_WAIT,
  [TIME_WAIT]: TIME_WAIT,
  [CLOSE]: CLOSE,
};

/** From the end that sent the first packet. */
const ORIGINAL: readonly Rule[] = [
  {
    // Within a connection the two ends may know better than we: they are left to answer it.
    otherwise: IGNORE,
    steps: {
      [NONE]: SYN_SENT,
      [SYN_SENT]: SYN_SENT,
      [SYN_SENT2]: SYN_SENT2,
      // The ends are used again, RFC 9293 §3.6.1.
      [TIME_WAIT]: SYN_SENT,
      [CLOSE]: SYN_SENT,
    },
  },
  { otherwise: IGNORE, steps: { [NONE]: INVALID, [SYN_SENT]: INVALID, [SYN_SENT2]: SYN_RECV } },
  FIN,
  {
    // Before the other end has answered, there is nothing to acknowledge.
    otherwise: INVALID,
    // A connection older than we are.
    steps: { ...ACK_STEPS, [NONE]: ESTABLISHED, [SYN_RECV]: ESTABLISHED },
  },
  RST,
  NO_FLAGS,
];

/** From the other end. */
const REPLY: readonly Rule[] = [
  {
    otherwise: INVALID,
    // Simultaneous open; and the same ends once more, with their parts exchanged.
    steps: { [SYN_SENT]: SYN_SENT2, [SYN_SENT2]: SYN_SENT2, [TIME_WAIT]: SYN_SENT },
  },
  { otherwise: IGNORE, steps: { [NONE]: INVALID, [SYN_SENT]: SYN_RECV, [SYN_SENT2]: SYN_RECV } },
  FIN,
  {
    otherwise: INVALID,
    // It may challenge a SYN that meets a connection of which only the upstream knows.
    steps: { ...ACK_STEPS, [SYN_SENT]: IGNORE, [SYN_SENT2]: IGNORE, [SYN_RECV]: SYN_RECV },
  },
  RST,
  NO_FLAGS,
];

const TABLE = Uint8Array.from(
  [ORIGINAL, REPLY].flatMap((rules) =>
    rules.flatMap(({ otherwise, steps }) =>
      Array.from({ length: STATES }, (_, state) => steps[state] ?? otherwise),
    ),
  ),
);

/** What the flags of a segment say. */
export function tcpEvent(flags: number): TcpEvent {
  if ((flags & TcpFlag.RST) !== 0) return TcpEvent.RST;
  if ((flags & TcpFlag.SYN) !== 0) {
    return (flags & TcpFlag.ACK) !== 0 ? TcpEvent.SYN_ACK : TcpEvent.SYN;
  }
  if ((flags & TcpFlag.FIN) !== 0) return TcpEvent.FIN;
  return (flags & TcpFlag.ACK) !== 0 ? TcpEvent.ACK : TcpEvent.NONE;
}

/** Where a connection in `state` comes to by this event. */
export const tcpStep = (isReply: boolean, event: TcpEvent, state: TrackState): TcpStep =>
  TABLE[((isReply ? EVENTS : 0) + event) * STATES + state] as TcpStep;
