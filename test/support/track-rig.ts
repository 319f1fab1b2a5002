/**
 * Connection tracking between a client and an upstream: packets go in as bytes, and come out as
 * bytes where they would go on. What is not there is the rest of the stack: a packet that matches
 * no flow gets a row and the rig's verdict at once.
 */
import { type AnswerTap, NO_ANSWER_TAP } from '../../src/stack/answer-tap.ts';
import { Arena } from '../../src/stack/arena.ts';
import { CLOSE_REASON_NAMES, CloseReason } from '../../src/stack/close-reason.ts';
import { Conntrack } from '../../src/stack/conntrack/conntrack.ts';
import type { TrackSettings } from '../../src/stack/conntrack/context.ts';
import { COUNTERS_BYTES, Counters } from '../../src/stack/counters.ts';
import { DROP_REASON_NAMES, DropReason } from '../../src/stack/drop-reason.ts';
import { ClosedBy, FlowField, type FlowSnapshot, readFlowRow } from '../../src/stack/flow-row.ts';
import { FlowTable, NO_FLOW } from '../../src/stack/flow-table.ts';
import { emptyPacket, findFlow, insertFlow, type Packet } from '../../src/stack/packet.ts';
import { HalfSipHash } from '../../src/stack/sip-hash.ts';
import type { Instant } from '../../src/stack/time.ts';
import { formatAddress, parseAddress, writeAddress } from '../../src/stack/wire/ip-address.ts';
import { Protocol } from '../../src/stack/wire/protocol.ts';
import {
  type IcmpFields,
  icmpPacket,
  type TcpFields,
  tcpPacket,
  type UdpFields,
  udpPacket,
} from './packet-builder.ts';
import { trackSettings } from './tracking.ts';

export const CLIENT = '10.0.0.7';
export const SERVER = '198.51.100.9';
export const POOL = '192.0.2.1';
const FRAME_BYTES = 70_000;
const PORTS_AT = { source: 0, destination: 2 } as const;
const ICMP_ERRORS = [3, 11, 12];
const ICMPV6_ERRORS_BELOW = 128;

export interface RigOptions {
  readonly flows?: number;
  readonly pool?: readonly string[];
  readonly settings?: Partial<TrackSettings>;
  readonly answers?: AnswerTap;
  /** Memory and counters of a rig whose flows are taken over. */
  readonly after?: TrackRig;
  /** Writes nothing down: what it would make of packets hides what the tracker makes. */
  readonly isSilent?: boolean;
}

export class TrackRig {
  readonly arena: Arena;
  readonly flows: FlowTable;
  readonly counters: Counters;
  readonly conntrack: Conntrack;
  readonly settings: TrackSettings;
  /** Packets that went on, as bytes. */
  readonly forwarded: Uint8Array[] = [];
  /** Segments that the tracker made: `198.51.100.9:80 > 10.0.0.7:40000 seq 5 ack 6`. */
  readonly resets: string[] = [];
  /** Flows that ended: `eof by client`. */
  readonly closed: string[] = [];
  /** What every new flow gets. */
  masquerade = true;
  to: { ip: string; port: number } | undefined;
  idleTimeoutMs = 0;
  now = 1_000_000_000 as Instant;
  readonly packet: Packet = emptyPacket();
  readonly #frameAt: number;
  readonly #isSilent: boolean;
  readonly memory: ArrayBuffer;

  constructor(options: RigOptions = {}) {
    const flows = options.flows ?? 64;
    this.#isSilent = options.isSilent ?? false;
    const bytes = FlowTable.bytes(flows) + Conntrack.bytes(flows) + FRAME_BYTES + 8192;
    this.memory = options.after?.memory ?? new ArrayBuffer(bytes);
    if (options.after !== undefined) this.now = options.after.now;
    this.arena = new Arena(this.memory);
    this.counters = new Counters(new ArrayBuffer(COUNTERS_BYTES));
    this.flows = new FlowTable(this.arena, flows, new HalfSipHash(options.after ? 3 : 1, 2));
    const unclamped = { clampMss: 'off', perSource: flows } as const;
    this.settings = trackSettings({ ...unclamped, ...options.settings });
    this.conntrack = new Conntrack(
      {
        arena: this.arena,
        flows: this.flows,
        counters: this.counters,
        answers: options.answers ?? NO_ANSWER_TAP,
        egress: {
          forward: (packet) => this.#onForward(packet),
          mssFor: (family) => (family === 4 ? 1460 : 1440),
          bareTcp: (from, to, length, fromPort, toPort, seq, ack) =>
            this.#onReset(from, to, length, fromPort, toPort, seq, ack),
        },
        owner: { onClosed: (row) => this.#onClosed(row) },
      },
      this.settings,
      new HalfSipHash(5, 6),
    );
    this.setPool(options.pool ?? [POOL]);
    this.#frameAt = this.arena.take(FRAME_BYTES);
  }

  setPool(addresses: readonly string[]): void {
    this.conntrack.setPool(addresses.map((address) => parseAddress(address) as Uint8Array));
  }

  /** A segment of the client. @returns what became of it: `none`, or why it was dropped */
  client(fields: TcpFields): string {
    return this.offer(tcpPacket({ source: CLIENT, destination: SERVER, ...fields }));
  }

  /** A segment of the upstream, to the source that it sees: that of the flow in row 0. */
  upstream(fields: TcpFields): string {
    return this.offer(tcpPacket({ ...this.replyEnds(), ...fields }));
  }

  clientUdp(fields: UdpFields = {}): string {
    return this.offer(udpPacket({ source: CLIENT, destination: SERVER, ...fields }));
  }

  upstreamUdp(fields: UdpFields = {}): string {
    return this.offer(udpPacket({ ...this.replyEnds(), ...fields }));
  }

  icmp(fields: IcmpFields): string {
    return this.offer(icmpPacket(fields));
  }

  /** Source and destination of replies to the flow in `row`. */
  replyEnds(
    row = 0,
  ): Required<Pick<TcpFields, 'source' | 'destination'>> &
    Required<Pick<TcpFields, 'sourcePort' | 'destinationPort'>> {
    const { view } = this.arena;
    const at = this.flows.rowAt(row);
    const length = view.getUint8(at + FlowField.FAMILY) === 4 ? 4 : 16;
    return {
      source: formatAddress(view, at + FlowField.UPSTREAM, length),
      sourcePort: view.getUint16(at + FlowField.UPSTREAM_PORT, true),
      destination: formatAddress(view, at + FlowField.NAT_SOURCE, length),
      destinationPort: view.getUint16(at + FlowField.NAT_SOURCE_PORT, true),
    };
  }

  /** A packet from the device. @returns `none`, the reason to drop it, or to refuse its flow */
  offer(bytes: Uint8Array, gsoSize = 0): string {
    this.arena.bytes.set(bytes, this.#frameAt);
    const { packet, conntrack, now } = this;
    this.read(this.#frameAt, bytes.length);
    packet.gsoSize = gsoSize;
    if (this.#isIcmpError()) return DROP_REASON_NAMES[conntrack.onError(packet, now)] ?? '';
    let row = this.find();
    if (row !== NO_FLOW) {
      if (!conntrack.isOver(row, this.flows.foundReply, packet, now)) {
        return DROP_REASON_NAMES[conntrack.carry(row, this.flows.foundReply, packet, now)] ?? '';
      }
      conntrack.end(row, CloseReason.IDLE, ClosedBy.GATEWAY, now);
    }
    row = this.insert();
    if (row === NO_FLOW) return 'flow-table-full';
    const refused = this.begin(row);
    if (refused !== CloseReason.NONE) {
      this.flows.remove(row);
      return CLOSE_REASON_NAMES[refused] ?? '';
    }
    return DROP_REASON_NAMES[conntrack.carry(row, false, packet, now)] ?? '';
  }

  begin(row: number): CloseReason {
    const { view } = this.arena;
    const at = this.flows.rowAt(row);
    view.setUint32(at + FlowField.IDLE_TIMEOUT_MS, this.idleTimeoutMs, true);
    if (this.to !== undefined) {
      const length = writeAddress(this.to.ip, view, at + FlowField.UPSTREAM);
      view.setUint8(at + FlowField.UPSTREAM_FAMILY, length === 4 ? 4 : 6);
      view.setUint16(at + FlowField.UPSTREAM_PORT, this.to.port, true);
    }
    return this.conntrack.begin(row, this.masquerade, this.now);
  }

  /** A row for the packet under the reader's eye. */
  insert(): number {
    return insertFlow(this.flows, this.packet, this.now);
  }

  find(): number {
    return findFlow(this.flows, this.packet);
  }

  /** Reads a packet that has no extension headers. */
  read(at: number, length: number): void {
    const { view } = this.arena;
    const { packet } = this;
    const isIpv4 = view.getUint8(at) >>> 4 === 4;
    packet.frameAt = packet.ipAt = at;
    packet.end = at + length;
    packet.addressLength = isIpv4 ? 4 : 16;
    packet.sourceAt = at + (isIpv4 ? 12 : 8);
    packet.destinationAt = packet.sourceAt + packet.addressLength;
    packet.transportAt = packet.destinationAt + packet.addressLength;
    packet.protocol = view.getUint8(at + (isIpv4 ? 9 : 6));
    packet.hopLimit = view.getUint8(at + (isIpv4 ? 8 : 7));
    packet.sourcePort = packet.destinationPort = 0;
    if (packet.protocol === Protocol.TCP || packet.protocol === Protocol.UDP) {
      packet.sourcePort = view.getUint16(packet.transportAt + PORTS_AT.source);
      packet.destinationPort = view.getUint16(packet.transportAt + PORTS_AT.destination);
    } else if (packet.protocol === Protocol.ICMP || packet.protocol === Protocol.ICMPV6) {
      const identifier = view.getUint16(packet.transportAt + 4);
      const type = view.getUint8(packet.transportAt);
      if (type === 8 || type === 128) packet.sourcePort = identifier;
      else packet.destinationPort = identifier;
    }
  }

  /** The flow in `row`, as the API shows it. */
  flow(row = 0): FlowSnapshot {
    const flow = readFlowRow(this.arena.view, this.flows.rowAt(row));
    if (flow === undefined) throw new Error(`row ${row} is free`);
    return flow;
  }

  /** Seconds until the flow in `row` expires. */
  timeLeft(row = 0): number {
    return (this.flow(row).expiresAt - this.now) / 1_000_000;
  }

  pass(seconds: number): void {
    this.now = (this.now + seconds * 1_000_000) as Instant;
  }

  /** Ends of the last packet that went on: `192.0.2.1:40000 > 198.51.100.9:80`. */
  get last(): string {
    const bytes = this.forwarded.at(-1);
    if (bytes === undefined) return 'nothing';
    const view = new DataView(bytes.buffer);
    const isIpv4 = view.getUint8(0) >>> 4 === 4;
    const [sourceAt, length] = isIpv4 ? [12, 4] : [8, 16];
    const at = sourceAt + 2 * length;
    const source = formatAddress(view, sourceAt, length);
    const destination = formatAddress(view, sourceAt + length, length);
    const protocol = view.getUint8(isIpv4 ? 9 : 6);
    if (protocol !== Protocol.TCP && protocol !== Protocol.UDP) return `${source} > ${destination}`;
    return `${source}:${view.getUint16(at)} > ${destination}:${view.getUint16(at + 2)}`;
  }

  #isIcmpError(): boolean {
    const { packet } = this;
    const type = this.arena.view.getUint8(packet.transportAt);
    if (packet.protocol === Protocol.ICMP) return ICMP_ERRORS.includes(type);
    return packet.protocol === Protocol.ICMPV6 && type < ICMPV6_ERRORS_BELOW;
  }

  #onForward(packet: Packet): DropReason {
    if (!this.#isSilent) this.forwarded.push(this.arena.bytes.slice(packet.ipAt, packet.end));
    return DropReason.NONE;
  }

  #onReset(
    sourceAt: number,
    destinationAt: number,
    length: number,
    sourcePort: number,
    destinationPort: number,
    seq: number,
    ack: number,
  ): boolean {
    const { view } = this.arena;
    const source = `${formatAddress(view, sourceAt, length)}:${sourcePort}`;
    const destination = `${formatAddress(view, destinationAt, length)}:${destinationPort}`;
    this.resets.push(`${source} > ${destination} seq ${seq} ack ${ack}`);
    return true;
  }

  #onClosed(row: number): void {
    if (this.#isSilent) return;
    const { closeReason, closedBy } = this.flow(row);
    this.closed.push(`${closeReason} by ${closedBy}`);
  }
}
