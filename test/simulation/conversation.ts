/**
 * Clients of the reference TCP talk through a link to servers behind our stack, on a clock that is
 * moved from event to event. Either side opens, or both at once. Rules that hold at all times are
 * checked all the time; what must hold at the end, at the end.
 */
import { CloseReason } from '../../src/stack/close-reason.ts';
import { Counter } from '../../src/stack/counters.ts';
import { ClosedBy, FlowField } from '../../src/stack/flow-row.ts';
import { type Instant, NEVER } from '../../src/stack/time.ts';
import type { CongestionName } from '../../src/stack/verdict.ts';
import { DueQueue } from '../support/due-queue.ts';
import { Lane, type LaneShape, randomShares } from '../support/lane.ts';
import { writePcap } from '../support/pcap.ts';
import type { OwnedFlow } from '../support/recording-owner.ts';
import { type RigOptions, TcpRig } from '../support/tcp-rig.ts';
import { type ReferenceOptions, ReferenceTcp } from './reference-tcp.ts';
import { cutFrame } from './segment-bytes.ts';

export interface Talk extends ReferenceOptions {
  /** Bytes that the server sends before its FIN. */
  readonly serverLength: number;
  /** After how long the connection is opened. */
  readonly startUs: number;
  /** The server's congestion control, where it is not that of the rig. */
  readonly congestion?: CongestionName;
  /** Who opens it; the client when absent. With `both` the SYNs cross. */
  readonly opener?: 'client' | 'stack' | 'both';
  /** Who lets the connection fall, and when, from the start of the scenario; else it ends well. */
  readonly abort?: { readonly by: 'client' | 'server'; readonly atUs: number } | undefined;
}

export interface Scenario {
  readonly seed: number;
  readonly rig: RigOptions;
  readonly up: LaneShape;
  readonly down: LaneShape;
  readonly talks: readonly Talk[];
  /** Bytes that each owner takes, and each client reads, per PACE_US. */
  readonly ownerPace: number;
  readonly clientPace: number;
  /** The server sends its FIN when it has the client's; else as soon as it has sent everything. */
  readonly serverWaitsForFin: boolean;
  /** The gateway takes frames this often, all that came as one batch; 0 is each at once. */
  readonly batchUs: number;
  /** Of the periods of PACE_US: those in which the device takes no frame of the stack. */
  readonly refusing: number;
}

export interface TalkResult {
  /** From the end of the client's handshake to the last byte, in microseconds. */
  readonly upUs: number;
  readonly downUs: number;
  /** Bytes that had come down, and the time since the handshake, when the first download ended. */
  readonly atFirstEnd: { readonly bytes: number; readonly us: number };
}

export interface Outcome {
  readonly rig: TcpRig;
  readonly talks: readonly TalkResult[];
  readonly up: Lane;
  readonly down: Lane;
}

const PACE_US = 5000;
/** Simulated time in which everything must have arrived. */
const LIMIT_US = 3_600_000_000;
/** Deadlines of the stack are rounded up by less than this. */
const TICK_US = 4000;
/** Packets of the end that a capture holds. */
const CAPTURE_PACKETS = 20_000;
/** TIME-WAIT, or until the stack gives up a client that is gone: keep-alives take the longest. */
const AFTERMATH_MS = 200_000;

interface Client {
  readonly tcp: ReferenceTcp;
  readonly talk: Talk;
  readonly startAt: number;
  flow: OwnedFlow | undefined;
  hasStarted: boolean;
  /** When it is to be aborted; infinite when never, or when it was. */
  abortAt: number;
  upUs: number;
  downUs: number;
  atFirstEnd: TalkResult['atFirstEnd'] | undefined;
}

interface Delivery {
  readonly packet: Uint8Array;
  /** The client it is for; undefined for the stack. */
  readonly client: Client | undefined;
}

/**
 * Runs a scenario to its end and then until the stack must be empty.
 *
 * @throws Error with the seed and a capture when a rule was broken
 */
export function converse(scenario: Scenario): Outcome {
  const conversation = new Conversation(scenario);
  try {
    return conversation.run();
  } catch (cause) {
    const what = cause instanceof Error ? cause.message : String(cause);
    const path = captureOf(scenario);
    const about = `${conversation.describe()}\npackets in ${path}`;
    throw new Error(`seed ${scenario.seed}: ${what}\n${about}`, { cause });
  }
}

/** Runs a scenario that fails once more, as it did, and writes down its packets. @returns a path */
function captureOf(scenario: Scenario): string {
  const packets: Uint8Array[] = [];
  const timesUs: number[] = [];
  const conversation = new Conversation(scenario, (packet, us) => {
    packets.push(packet);
    timesUs.push(us);
    if (packets.length < 2 * CAPTURE_PACKETS) return;
    packets.splice(0, CAPTURE_PACKETS);
    timesUs.splice(0, CAPTURE_PACKETS);
  });
  try {
    conversation.run();
  } catch {
    // It is why we are here.
  }
  return writePcap(`seed-${scenario.seed}`, packets, timesUs);
}

class Conversation {
  readonly #scenario: Scenario;
  readonly #rig: TcpRig;
  readonly #up: Lane;
  readonly #down: Lane;
  readonly #clients: Client[];
  readonly #byPort = new Map<number, Client>();
  readonly #deliveries = new DueQueue<Delivery>();
  readonly #startedAt: number;
  readonly #random: () => number;
  readonly #onPacket: ((packet: Uint8Array, us: number) => void) | undefined;
  #paceAt: number;

  /** @param onPacket  is told each packet where it is sent, and when since the start */
  constructor(scenario: Scenario, onPacket?: (packet: Uint8Array, us: number) => void) {
    this.#onPacket = onPacket;
    this.#scenario = scenario;
    this.#rig = new TcpRig(scenario.rig);
    this.#up = new Lane(scenario.up, 2 * scenario.seed);
    this.#down = new Lane(scenario.down, 2 * scenario.seed + 1);
    this.#startedAt = this.#rig.now;
    this.#random = randomShares(scenario.seed);
    this.#paceAt = this.#rig.now + PACE_US;
    this.#clients = scenario.talks.map((talk) => ({
      tcp: new ReferenceTcp(talk, (packet) => this.#carry(this.#up, packet, undefined)),
      talk,
      startAt: this.#rig.now + talk.startUs,
      flow: undefined,
      hasStarted: false,
      abortAt: this.#rig.now + (talk.abort?.atUs ?? Number.POSITIVE_INFINITY),
      upUs: 0,
      downUs: 0,
      atFirstEnd: undefined,
    }));
    for (const client of this.#clients) this.#byPort.set(client.talk.sourcePort, client);
    this.#behave();
  }

  run(): Outcome {
    const rig = this.#rig;
    const end = rig.now + LIMIT_US;
    while (!this.#clients.every((client) => this.#isOver(client))) {
      const next = this.#nextAt();
      if (next > end) throw new Error('it does not end');
      rig.clock.moveTo(Math.max(rig.now, next) as Instant);
      this.#step();
    }
    this.#letGo();
    return {
      rig,
      talks: this.#clients.map(({ upUs, downUs, atFirstEnd = { bytes: 0, us: 0 } }) => ({
        upUs,
        downUs,
        atFirstEnd,
      })),
      up: this.#up,
      down: this.#down,
    };
  }

  /** What each client and its flow have done so far. */
  describe(): string {
    const now = ((this.#rig.now - this.#startedAt) / 1000).toFixed(1);
    const lines = this.#clients.map(({ talk, tcp, flow }) => {
      const calls = flow?.calls.filter((call) => !/^(data|room)/.test(call)).join(', ');
      return (
        `  port ${talk.sourcePort}: ${tcp.receiver.received} of ${talk.serverLength} down, ` +
        `${flow?.received} of ${talk.length} up; client: acked ${tcp.sender.sndUna}, ` +
        `sent ${tcp.sender.sndNxt}${tcp.wasReset ? ', reset' : ''}; owner: ${calls}`
      );
    });
    const drops = JSON.stringify(this.#rig.drops);
    const [up, down] = [JSON.stringify(this.#up.counts), JSON.stringify(this.#down.counts)];
    return [`  after ${now} ms; drops ${drops}; up ${up}; down ${down}`, ...lines].join('\n');
  }

  /** What the servers do. */
  #behave(): void {
    const { owner, stack } = this.#rig;
    owner.appetite = 0;
    owner.reactions.syn = (row, now) => {
      const { congestion } = this.#clientOf(row).talk;
      if (congestion !== undefined) stack.setCongestion(row, congestion);
      stack.accept(row, now);
    };
    owner.reactions.connected = (row, now) => owner.reactions.established?.(row, now);
    owner.reactions.established = (row, now) => {
      const client = this.#clientOf(row);
      client.flow = owner.flow(row);
      // A SYN that came late, of a client that is long gone.
      if (client.tcp.isClosed) return;
      owner.send(row, client.talk.serverLength, now);
      if (!this.#scenario.serverWaitsForFin) owner.close(row, now);
    };
    owner.reactions.fin = (row, now) => {
      if (this.#scenario.serverWaitsForFin) owner.close(row, now);
    };
  }

  #clientOf(row: number): Client {
    const { stack } = this.#rig;
    const portAt = stack.rowAt(row) + FlowField.SOURCE_PORT;
    const client = this.#byPort.get(stack.arena.view.getUint16(portAt, true));
    if (client === undefined) throw new Error(`row ${row} belongs to nobody`);
    return client;
  }

  #nextAt(): number {
    let next = Math.min(this.#deliveries.due, this.#paceAt, this.#rig.stack.pollAt());
    for (const { tcp, hasStarted, startAt, abortAt } of this.#clients) {
      next = Math.min(next, abortAt, hasStarted ? tcp.deadline : startAt);
    }
    return next;
  }

  #step(): void {
    const { stack, clock } = this.#rig;
    this.#rig.batch(() => {
      while (this.#deliveries.due <= clock.now) this.#deliver(this.#deliveries.pop());
    });
    if (stack.pollAt() <= clock.now) stack.expire(clock.now);
    for (const client of this.#clients) {
      if (!client.hasStarted && client.startAt <= clock.now) {
        client.hasStarted = true;
        this.#open(client);
      }
      if (client.tcp.deadline <= clock.now) client.tcp.tick(clock.now);
      if (client.abortAt <= clock.now) this.#abort(client);
    }
    if (this.#paceAt <= clock.now) this.#pace();
    stack.flush(clock.now);
    this.#collect();
    for (const client of this.#clients) this.#check(client);
  }

  #open(client: Client): void {
    const rig = this.#rig;
    const { talk, tcp } = client;
    const { opener = 'client' } = talk;
    if (opener !== 'client') {
      const row = rig.dial(rig.newPeer({ port: talk.sourcePort }));
      if (row < 0) throw new Error(`port ${talk.sourcePort} is not dialled: ${row}`);
      client.flow = rig.owner.flow(row);
    }
    if (opener !== 'stack') tcp.connect(rig.now);
  }

  #abort(client: Client): void {
    const { talk, tcp, flow } = client;
    const { stack, now } = this.#rig;
    client.abortAt = Number.POSITIVE_INFINITY;
    if (talk.abort?.by === 'server' && flow?.isGone === false) {
      stack.abort(flow.row, CloseReason.UPSTREAM_RESET, ClosedBy.UPSTREAM, now);
      this.#collect();
    }
    // A client that the server let fall may wait for ever, when the reset is lost: it gives up too.
    tcp.abort(now);
  }

  #deliver({ packet, client }: Delivery): void {
    if (client === undefined) this.#rig.deliver(packet);
    else client.tcp.arrive(packet, this.#rig.now);
    // Before a time-out or a reader can send something else.
    this.#collect();
  }

  /** Puts what the stack sent on its way. */
  #collect(): void {
    for (const frame of this.#rig.frames.splice(0)) {
      // A packet whose protocol was corrupted is refused by ICMP, which our clients do not read.
      for (const packet of cutFrame(frame).filter(isTcp)) {
        this.#carry(this.#down, packet, this.#receiverOf(packet));
      }
    }
  }

  #receiverOf(packet: Uint8Array): Client {
    const tcpAt = packet[0]! >>> 4 === 4 ? 20 : 40;
    const port = packet[tcpAt + 2]! * 256 + packet[tcpAt + 3]!;
    const client = this.#byPort.get(port);
    // None of our packets draws a segment to nobody.
    if (client === undefined) throw new Error(`the stack sends to port ${port}`);
    return client;
  }

  #carry(lane: Lane, packet: Uint8Array, client: Client | undefined): void {
    this.#onPacket?.(packet, this.#rig.now - this.#startedAt);
    lane.admit(this.#rig.now, packet.length);
    const { copies, corruptBit, dueUs } = lane;
    if (copies === 0) return;
    let arriving = packet;
    if (corruptBit >= 0) {
      arriving = packet.slice();
      arriving[corruptBit >>> 3] = arriving[corruptBit >>> 3]! ^ (1 << (corruptBit & 7));
    }
    const { batchUs } = this.#scenario;
    const isBatched = batchUs > 0 && client === undefined;
    const at = isBatched ? Math.ceil(dueUs / batchUs) * batchUs : dueUs;
    for (let i = 0; i < copies; i++) this.#deliveries.push(at, { packet: arriving, client });
  }

  /** Readers read, and owners take and send. */
  #pace(): void {
    const rig = this.#rig;
    this.#paceAt = rig.now + PACE_US;
    rig.device.isRefusing = this.#random() < this.#scenario.refusing;
    for (const { tcp, flow } of this.#clients) {
      tcp.read(this.#scenario.clientPace, rig.now);
      if (flow === undefined || flow.isGone) continue;
      flow.appetite = Math.max(flow.appetite, 0);
      rig.owner.eat(flow.row, this.#scenario.ownerPace, rig.now);
      if (!flow.isGone) rig.owner.pump(flow.row, rig.now);
    }
  }

  /** What holds at all times. */
  #check(client: Client): void {
    const { tcp, flow, talk } = client;
    if (tcp.wasReset && talk.abort === undefined)
      throw new Error(`port ${talk.sourcePort} was reset`);
    if (tcp.openedAt === 0 || flow === undefined) return;
    const sinceOpen = this.#rig.now - tcp.openedAt;
    if (client.upUs === 0 && flow.received === talk.length) client.upUs = sinceOpen;
    if (client.downUs === 0 && tcp.receiver.received === talk.serverLength) {
      client.downUs = sinceOpen;
      for (const each of this.#clients) {
        const us = this.#rig.now - each.tcp.openedAt;
        each.atFirstEnd ??= { bytes: each.tcp.receiver.received, us };
      }
    }
    if (flow.isGone) return;
    const { stack } = this.#rig;
    const tcb = stack.tcb(flow.row);
    if (tcb.flightSize > 0 && tcb.rtxDeadline === NEVER) {
      throw new Error(`port ${talk.sourcePort}: bytes in flight and no timer`);
    }
    const deadline = Math.min(tcb.rtxDeadline, tcb.ackDeadline, tcb.lifeDeadline);
    // One that passed while another of the same tick was run is due with the next.
    if (stack.pollAt() > Math.max(deadline, this.#rig.now) + TICK_US) {
      throw new Error(`port ${talk.sourcePort}: a timer that nobody waits for`);
    }
  }

  #isOver({ tcp, talk, flow, hasStarted }: Client): boolean {
    if (talk.abort !== undefined && tcp.isClosed) return flow?.isGone !== false;
    return hasStarted && tcp.isDone && flow?.isGone === true;
  }

  /** What must be left: nothing. */
  #letGo(): void {
    const rig = this.#rig;
    rig.device.isRefusing = false;
    while (this.#deliveries.length > 0) {
      rig.clock.moveTo(Math.max(rig.now, this.#deliveries.due) as Instant);
      this.#deliver(this.#deliveries.pop());
    }
    rig.wait(AFTERMATH_MS);
    this.#collect();
    rig.expectEmpty();
    for (const gauge of [Counter.FLOWS_NOW, Counter.TIME_WAIT_NOW, Counter.SLAB_BYTES_NOW]) {
      if (rig.counters.get(gauge) !== 0) throw new Error(`gauge ${gauge} is not 0`);
    }
    for (const { talk, tcp, flow } of this.#clients) {
      if (talk.abort !== undefined) continue;
      const isWhole = tcp.receiver.received === talk.serverLength && flow?.received === talk.length;
      if (!isWhole) throw new Error(`port ${talk.sourcePort}: bytes are missing`);
      if (!flow.calls.at(-1)?.startsWith('closed eof')) {
        throw new Error(`port ${talk.sourcePort}: ${flow.calls.at(-1)}`);
      }
    }
  }
}

const isTcp = (packet: Uint8Array): boolean => packet[packet[0]! >>> 4 === 4 ? 9 : 6] === 6;
