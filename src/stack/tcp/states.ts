/** The states of a TCP connection, RFC 9293 §3.3.2, and the edges between them (figure 5). */
export const TcpState = {
  CLOSED: 0,
  LISTEN: 1,
  SYN_SENT: 2,
  SYN_RECEIVED: 3,
  ESTABLISHED: 4,
  FIN_WAIT_1: 5,
  FIN_WAIT_2: 6,
  CLOSE_WAIT: 7,
  CLOSING: 8,
  LAST_ACK: 9,
  TIME_WAIT: 10,
} as const;
export type TcpState = (typeof TcpState)[keyof typeof TcpState];

/** As RFC 9293 prints them, by value: `FIN-WAIT-1`. */
export const TCP_STATE_NAMES: readonly string[] = Object.keys(TcpState).map((name) =>
  name.replaceAll('_', '-'),
);

export const tcpStateName = (state: TcpState): string => TCP_STATE_NAMES[state] ?? String(state);

/** Figure 5, without the edges to CLOSED, which an abort may take from everywhere. */
export const TCP_EDGES: Readonly<Record<TcpState, readonly TcpState[]>> = {
  [TcpState.CLOSED]: [TcpState.LISTEN, TcpState.SYN_SENT],
  [TcpState.LISTEN]: [TcpState.SYN_RECEIVED, TcpState.SYN_SENT],
  [TcpState.SYN_SENT]: [TcpState.SYN_RECEIVED, TcpState.ESTABLISHED],
  [TcpState.SYN_RECEIVED]: [TcpState.ESTABLISHED, TcpState.FIN_WAIT_1, TcpState.CLOSE_WAIT],
  [TcpState.ESTABLISHED]: [TcpState.FIN_WAIT_1, TcpState.CLOSE_WAIT],
  [TcpState.FIN_WAIT_1]: [TcpState.FIN_WAIT_2, TcpState.CLOSING, TcpState.TIME_WAIT],
  [TcpState.FIN_WAIT_2]: [TcpState.TIME_WAIT],
  [TcpState.CLOSE_WAIT]: [TcpState.LAST_ACK],
  [TcpState.CLOSING]: [TcpState.TIME_WAIT],
  [TcpState.LAST_ACK]: [],
  [TcpState.TIME_WAIT]: [],
};
