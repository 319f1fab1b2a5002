/** One constructor for each state of RFC 9293 §3.3.2. */
import { type RigOptions, TcpRig } from './tcp-rig.ts';

/** CLOSED is a tuple without a flow; LISTEN a SYN that is held; in SYN-SENT the stack dials. */
export const STATES = [
  'CLOSED',
  'LISTEN',
  'SYN-SENT',
  'SYN-RECEIVED',
  'ESTABLISHED',
  'FIN-WAIT-1',
  'FIN-WAIT-2',
  'CLOSE-WAIT',
  'CLOSING',
  'LAST-ACK',
  'TIME-WAIT',
] as const;
export type StateName = (typeof STATES)[number];

/** What both sides have sent, SYN and FIN counted: the numbers that come next. */
export interface Position {
  /** Of the peer: what the stack expects. */
  readonly peer: number;
  /** Of the stack. */
  readonly stack: number;
}

/** Numbers in the states of a connection on which no data was sent. */
export const POSITIONS: Readonly<Record<StateName, Position>> = {
  CLOSED: { peer: 0, stack: 0 },
  LISTEN: { peer: 1, stack: 0 },
  'SYN-SENT': { peer: 0, stack: 1 },
  'SYN-RECEIVED': { peer: 1, stack: 1 },
  ESTABLISHED: { peer: 1, stack: 1 },
  'FIN-WAIT-1': { peer: 1, stack: 2 },
  'FIN-WAIT-2': { peer: 1, stack: 2 },
  'CLOSE-WAIT': { peer: 2, stack: 1 },
  CLOSING: { peer: 2, stack: 2 },
  'LAST-ACK': { peer: 2, stack: 2 },
  'TIME-WAIT': { peer: 2, stack: 2 },
};

/** A connection of the rig's peer in `state`, with nothing on the wire that was not read. */
export function inState(state: StateName, options: RigOptions = {}): TcpRig {
  const rig = new TcpRig(options);
  if (state !== 'CLOSED') STEPS[state](rig);
  if (rig.frames.length > 0) throw new Error(`frames are left on the way to ${state}`);
  if (state !== 'CLOSED' && rig.state !== state) throw new Error(`${rig.state}, not ${state}`);
  return rig;
}

const STEPS: Readonly<Record<Exclude<StateName, 'CLOSED'>, (rig: TcpRig) => void>> = {
  LISTEN(rig) {
    rig.peer.sends(rig.synLine);
  },
  'SYN-SENT'(rig) {
    rig.dial();
    rig.peer.expects('S 0:0(0)');
  },
  'SYN-RECEIVED'(rig) {
    rig.peer.sends(rig.synLine);
    rig.accept();
    rig.peer.expects(rig.synAnswer);
  },
  ESTABLISHED(rig) {
    rig.connect();
  },
  'FIN-WAIT-1'(rig) {
    rig.connect();
    rig.close();
    rig.peer.expects('F. 1:1(0) ack 1');
  },
  'FIN-WAIT-2'(rig) {
    STEPS['FIN-WAIT-1'](rig);
    rig.peer.sends('. 1:1(0) ack 2 win 512');
  },
  'CLOSE-WAIT'(rig) {
    rig.connect();
    rig.peer.sends('F. 1:1(0) ack 1 win 512');
    rig.peer.expects('. 1:1(0) ack 2');
  },
  CLOSING(rig) {
    STEPS['FIN-WAIT-1'](rig);
    rig.peer.sends('F. 1:1(0) ack 1 win 512');
    rig.peer.expects('. 2:2(0) ack 2');
  },
  'LAST-ACK'(rig) {
    STEPS['CLOSE-WAIT'](rig);
    rig.close();
    rig.peer.expects('F. 1:1(0) ack 2');
  },
  'TIME-WAIT'(rig) {
    STEPS['FIN-WAIT-2'](rig);
    rig.peer.sends('F. 1:1(0) ack 2 win 512');
    rig.peer.expects('. 2:2(0) ack 2');
  },
};
