/** A whole stack that rewrites all flows, and clients in any number that send it datagrams. */
import type { TrackSettings } from '../../../src/stack/conntrack/context.ts';
import { DEFAULT_TIMEOUTS } from '../../../src/stack/conntrack/timeouts.ts';
import { COUNTERS_BYTES, Counters } from '../../../src/stack/counters.ts';
import { FlowField } from '../../../src/stack/flow-row.ts';
import { type StateLimits, stateBytes } from '../../../src/stack/layout.ts';
import { Stack } from '../../../src/stack/stack.ts';
import type { FlowOwner } from '../../../src/stack/tcp/owner.ts';
import { after, type Duration, type Instant } from '../../../src/stack/time.ts';
import { checksum } from '../../../src/stack/wire/checksum.ts';
import { IPV4_HEADER_BYTES, Ipv4Field } from '../../../src/stack/wire/ipv4.ts';
import { VNET_HEADER_BYTES } from '../../../src/stack/wire/virtio-net.ts';
import { FULL_OFFLOAD } from '../../support/memory-device.ts';
import { concat, udpPacket } from '../../support/packet-builder.ts';

/** Half a million clients use an eighth of its ports. */
const POOL_ADDRESSES = 64;
const PAYLOAD = new Uint8Array(64);
/** Clients have any port of these, in an order without a pattern. */
const FIRST_PORT = 1024;
const PORTS = 64_512;
const PORT_STRIDE = 24_571;
const SERVER_PORT = 443;
const SERVER = '198.18.0.10';
const SERVER_WORD = 0xc612_000a;
/** 10.0.0.0: clients have the addresses from there on. */
const FIRST_CLIENT = 0x0a00_0000;
/** NEEDS_CSUM: what comes from this machine is not summed up again. */
const VNET_HEADER = Uint8Array.of(1, 0, 0, 0, 0, 0, IPV4_HEADER_BYTES, 0, 6, 0);

const SETTINGS: TrackSettings = {
  timeouts: { ...DEFAULT_TIMEOUTS },
  tcpLiberal: false,
  tcpLoose: true,
  perSource: 65_536,
  firstPort: 1024,
  lastPort: 65_535,
  portsPerSource: 65_536,
  clampMss: 'auto',
};

const limitsFor = (flows: number): StateLimits => ({
  flows,
  flowsPerSource: flows,
  heldSyns: 1024,
  heldSynsPerSource: 1024,
  synCookiesFrom: 512,
  timeWait: 1024,
  slabBytes: 16 * 1024 * 1024,
  slabBytesPerFlow: 1024 * 1024,
});

/** Every flow is rewritten; nothing else is wanted of it. */
class NatOwner implements FlowOwner {
  stack: Stack | undefined;
  refused = 0;

  onFlow(row: number, now: Instant): void {
    if (this.stack?.nat(row, true, now) !== 0) this.refused += 1;
  }
  isNat(): boolean {
    return false;
  }
  isTakenBefore(): boolean {
    return false;
  }
  onDeadline(): void {}
  onEstablished(): void {}
  onConnected(): void {}
  onData(): number {
    return 0;
  }
  onWaiting(): void {}
  onFin(): void {}
  onRoom(): void {}
  onParked(): void {}
  onDatagram(): void {}
  onClosed(): void {}
}

export class NatStack {
  readonly stack: Stack;
  readonly counters = new Counters(new ArrayBuffer(COUNTERS_BYTES));
  /** Frames that the stack has written. */
  sent = 0;
  now: Instant = 1_000_000_000 as Instant;
  readonly #owner = new NatOwner();
  readonly #view: DataView;
  readonly #ipAt: number;
  readonly #frameBytes: number;

  constructor(flows: number) {
    const limits = limitsFor(flows);
    const memory = new ArrayBuffer(stateBytes(limits));
    this.stack = new Stack({
      memory,
      limits,
      counters: this.counters,
      capabilities: FULL_OFFLOAD,
      sink: {
        transmit: () => {
          this.sent += 1;
          return true;
        },
      },
      owner: this.#owner,
      settings: { slabBytesPerFlow: limits.slabBytesPerFlow, keepaliveUs: 0 },
      tracking: SETTINGS,
      onLeftover: () => {},
      secrets: crypto.getRandomValues(new Uint32Array(16)),
      randomize: (into) => crypto.getRandomValues(into),
      now: this.now,
    });
    this.#owner.stack = this.stack;
    const pool = Array.from({ length: POOL_ADDRESSES }, (_, i) => Uint8Array.of(10, 97, 0, i));
    this.stack.setPool(pool);
    const frame = concat([
      VNET_HEADER,
      udpPacket({
        destination: SERVER,
        destinationPort: SERVER_PORT,
        payload: PAYLOAD,
      }),
    ]);
    this.#view = this.stack.arena.view;
    this.#frameBytes = frame.length;
    this.stack.arena.bytes.set(frame, this.stack.frameAt);
    this.#ipAt = this.stack.frameAt + VNET_HEADER_BYTES;
  }

  /** Memory for one flow of so many: all that the gateway sets aside, TCP's part included. */
  static bytesPerFlow(flows: number): number {
    const least = 1024;
    return (stateBytes(limitsFor(flows)) - stateBytes(limitsFor(least))) / (flows - least);
  }

  /** Flows that could not begin. */
  get refused(): number {
    return this.#owner.refused;
  }

  get flows(): number {
    return this.stack.flows.used;
  }

  wait(time: Duration): void {
    this.now = after(this.now, time);
  }

  /** Writes the next datagram of a client; `ingest` takes it. */
  writeFromClient(client: number): void {
    const port = FIRST_PORT + ((client * PORT_STRIDE) % PORTS);
    this.#writeEnds(FIRST_CLIENT + client, port, SERVER_WORD, SERVER_PORT);
  }

  /** Writes an answer to the flow in `row`, as it comes from the server. */
  writeFromServer(row: number): void {
    const at = this.stack.rowAt(row);
    const pool = this.#view.getUint32(at + FlowField.NAT_SOURCE);
    const port = this.#view.getUint16(at + FlowField.NAT_SOURCE_PORT, true);
    this.#writeEnds(SERVER_WORD, SERVER_PORT, pool, port);
  }

  ingest(): void {
    this.stack.ingest(this.stack.frameAt, this.#frameBytes, this.now);
  }

  /** Runs a timer of the stack if it is due; tells whether it was. */
  expire(): boolean {
    if (this.stack.pollAt() > this.now) return false;
    this.stack.expire(this.now);
    return true;
  }

  #writeEnds(source: number, sourcePort: number, destination: number, port: number): void {
    const view = this.#view;
    const at = this.#ipAt;
    view.setUint8(at + Ipv4Field.TTL, 64);
    view.setUint32(at + Ipv4Field.SOURCE, source);
    view.setUint32(at + Ipv4Field.DESTINATION, destination);
    view.setUint16(at + Ipv4Field.CHECKSUM, 0);
    view.setUint16(at + Ipv4Field.CHECKSUM, checksum(view, at, IPV4_HEADER_BYTES));
    view.setUint16(at + IPV4_HEADER_BYTES, sourcePort);
    view.setUint16(at + IPV4_HEADER_BYTES + 2, port);
  }
}
