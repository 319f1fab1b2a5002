/**
 * The active OPEN, RFC 9293 §3.10.1: the stack dials into the device. The SYN is sent again by RFC
 * 6298 with the same options each time (timers.ts); what comes back is the matter of syn-sent.ts.
 */
import { Counter } from '../counters.ts';
import { Carrier, FlowField, FlowPhase } from '../flow-row.ts';
import { NO_FLOW } from '../flow-table.ts';
import type { HalfSipHash } from '../sip-hash.ts';
import type { Instant } from '../time.ts';
import {
  isBroadcast,
  isLoopback,
  isMapped,
  isMulticast,
  isUnspecified,
} from '../wire/ip-address.ts';
import { Protocol } from '../wire/protocol.ts';
import { seqAdd } from '../wire/seq.ts';
import { countFlows, makeRoom, type Reclaimer } from './close.ts';
import type { TcpContext } from './context.ts';
import { EphemeralPorts, isFree } from './ephemeral-ports.ts';
import { initialSequence } from './initial-sequence.ts';
import { sendSyn } from './output.ts';
import { startWindow } from './receive-window.ts';
import { armRetransmission, startRtt, timeSegment } from './rtt.ts';
import { TcpState } from './states.ts';
import { hashTuple } from './syn-packet.ts';
import { TcbFlag } from './tcb.ts';

/** Why nothing was opened, in the place of a row. */
export const NotOpened = {
  /** "Insufficient resources." */
  TABLE_FULL: NO_FLOW,
  /** "Connection already exists", if only in TIME-WAIT; or no port is free towards this end. */
  IN_USE: -2,
  /** One end is no unicast address that may stand on a wire, or the destination has no port. */
  BAD_ADDRESS: -3,
} as const;

/** Sets the start of a timestamp clock apart from all else that is made with the same key. */
const CLOCK_MARK = 0x636c636b;

export class ActiveOpen {
  readonly #tcp: TcpContext;
  readonly #tracked: Reclaimer;
  readonly #hash: HalfSipHash;
  readonly #ports: EphemeralPorts;

  /** @param hash  keyed as that of the forwarder: both make initial sequence numbers */
  constructor(tcp: TcpContext, tracked: Reclaimer, hash: HalfSipHash) {
    this.#tcp = tcp;
    this.#tracked = tracked;
    this.#hash = hash;
    this.#ports = new EphemeralPorts(tcp.flows, tcp.arena.view, hash);
  }

  /** See `Stack.connect`. */
  connect(
    sourceAt: number,
    sourcePort: number,
    destinationAt: number,
    destinationPort: number,
    addressLength: number,
    deadline: Instant,
    now: Instant,
  ): number {
    const tcp = this.#tcp;
    const { flows, arena } = tcp;
    const { view } = arena;
    const isDialable =
      destinationPort !== 0 &&
      isHost(view, sourceAt, addressLength) &&
      isHost(view, destinationAt, addressLength);
    if (!isDialable) return NotOpened.BAD_ADDRESS;
    let port = sourcePort;
    if (port === 0) {
      port = this.#ports.choose(sourceAt, destinationAt, addressLength, destinationPort);
      if (port === 0) return NotOpened.IN_USE;
    } else if (!isFree(flows, sourceAt, port, destinationAt, destinationPort, addressLength)) {
      return NotOpened.IN_USE;
    }
    makeRoom(tcp, this.#tracked, now);
    const ports = (destinationPort << 16) | port;
    const row = flows.insert(
      flows.hashOf(destinationAt, sourceAt, addressLength, ports, Protocol.TCP),
      destinationAt,
      sourceAt,
      addressLength,
      destinationPort,
      port,
      Protocol.TCP,
      now,
    );
    if (row === NO_FLOW) return NotOpened.TABLE_FULL;
    const hash = this.#hash;
    const tcb = tcp.tcb.moveTo(row);
    tcb.clear();
    tcb.iss = initialSequence(hash, view, destinationAt, sourceAt, addressLength, ports, now);
    // The same for each connection of this tuple, so that a peer in TIME-WAIT sees the clock go on
    // and takes the SYN for a new one (RFC 6191 §2).
    hash.start();
    hashTuple(hash, view, destinationAt, sourceAt, addressLength, ports);
    hash.word(CLOCK_MARK);
    tcb.tsOffset = hash.finish();
    this.#begin(deadline, now);
    return row;
  }

  /** "Enter SYN-SENT state", and `<SEQ=ISS><CTL=SYN>`. */
  #begin(deadline: Instant, now: Instant): void {
    const tcp = this.#tcp;
    const tcb = tcp.tcb;
    tcb.phase = FlowPhase.HANDSHAKE;
    tcp.arena.view.setUint8(tcb.flowAt + FlowField.CARRIER, Carrier.TCP);
    tcb.transition(TcpState.SYN_SENT);
    // What is offered; the peer's SYN says what comes of it.
    tcb.raise(TcbFlag.OPENED | TcbFlag.TIMESTAMPS | TcbFlag.SCALING | TcbFlag.SACK);
    tcb.sndUna = tcb.recover = tcb.rtxNxt = tcb.iss;
    tcb.sndNxt = seqAdd(tcb.iss, 1);
    tcb.lastReceivedAt = now;
    tcb.lifeDeadline = deadline;
    tcp.counters.add(Counter.FLOWS_TOTAL);
    countFlows(tcp);
    startWindow(tcb);
    startRtt(tcp);
    sendSyn(tcp, now);
    timeSegment(tcp, tcb.sndNxt, now);
    armRetransmission(tcp, now);
    tcp.wheel.schedule(tcb.row, deadline);
  }
}

/** An address of one host; RFC 9293 §3.9.2.3 has the others refused (MUST-46). */
const isHost = (view: DataView, at: number, length: number): boolean =>
  !isUnspecified(view, at, length) &&
  !isLoopback(view, at, length) &&
  !isMapped(view, at, length) &&
  !isMulticast(view, at, length) &&
  !isBroadcast(view, at, length);
