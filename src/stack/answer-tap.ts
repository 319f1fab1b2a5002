/**
 * Who is shown answers of DNS servers to clients, as they pass: datagrams from port 53 of flows
 * that are sessions or rewritten. While nobody looks, each reply costs a look at `isOn` at most.
 */
export interface AnswerTap {
  readonly isOn: boolean;
  /**
   * The payload of a datagram to the client of the flow in `row`, or of several.
   *
   * @param at            of the arena, during the call
   * @param segmentBytes  of each of several but the last; 0 for one
   */
  answers(row: number, at: number, length: number, segmentBytes: number): void;
}

export const DNS_PORT = 53;

export const NO_ANSWER_TAP: AnswerTap = { isOn: false, answers() {} };
