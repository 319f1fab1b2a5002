/**
 * A stack on a device in memory, with a clock that stands still and a peer that is moved by hand:
 *
 *   ScriptedPeer ── packets ── MemoryDevice ── Stack ── RecordingOwner
 */
import { expect } from 'bun:test';
import { COUNTERS_BYTES, Counters } from '../../src/stack/counters.ts';
import type { DeviceCapabilities } from '../../src/stack/device.ts';
import { DROP_REASON_COUNT, DROP_REASON_NAMES } from '../../src/stack/drop-reason.ts';
import { type FlowSnapshot, readFlowRow } from '../../src/stack/flow-row.ts';
import { type StateLimits, stateBytes } from '../../src/stack/layout.ts';
import type { PacketTap } from '../../src/stack/packet-tap.ts';
import { Stack } from '../../src/stack/stack.ts';
import type { QueueOptions } from '../../src/stack/stack-parts.ts';
import type { TcpSettings } from '../../src/stack/tcp/context.ts';
import { tcpStateName } from '../../src/stack/tcp/states.ts';
import { type Instant, NEVER } from '../../src/stack/time.ts';
import { writeAddress } from '../../src/stack/wire/ip-address.ts';
import { CLOCK_START, ManualClock } from './manual-clock.ts';
import { FULL_OFFLOAD, MemoryDevice } from './memory-device.ts';
import { RecordingOwner } from './recording-owner.ts';
import { type PeerOptions, parsePacket, ScriptedPeer } from './scripted-peer.ts';
import { trackSettings } from './tracking.ts';

export const LIMITS: StateLimits = {
  flows: 64,
  flowsPerSource: 1_000_000,
  heldSyns: 32,
  heldSynsPerSource: 16,
  // Never, but where a test asks for it: above every limit.
  synCookiesFrom: 1_000_000,
  timeWait: 16,
  slabBytes: 4 * 1024 * 1024,
  slabBytesPerFlow: 2 * 1024 * 1024,
};

const SETTINGS: TcpSettings = {
  slabBytesPerFlow: LIMITS.slabBytesPerFlow,
  keepaliveUs: 0,
};

/** Fixed, so that a trace runs the same way every time. */
const SECRETS = Uint32Array.of(
  ...[0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 1, 2, 3, 4, 5, 6, 7],
);

export interface RigOptions {
  readonly family?: 4 | 6;
  readonly timestamps?: boolean;
  /** The rig's clients permit selective acknowledgments. */
  readonly sack?: boolean;
  /** They ask for ECN. */
  readonly ecn?: boolean;
  readonly capabilities?: DeviceCapabilities;
  readonly limits?: Partial<StateLimits>;
  readonly settings?: Partial<TcpSettings>;
  /** Initial sequence number of the peer. */
  readonly peerIss?: number;
  /** Initial sequence number that the stack shall choose for the rig's peer. */
  readonly stackIss?: number;
  /** The memory of an earlier stack. */
  readonly memory?: ArrayBuffer;
  readonly start?: Instant;
  readonly tap?: PacketTap;
  /** One of several stacks. */
  readonly queue?: QueueOptions;
}

/** What differs from the ends that a peer knows. */
export interface DialOptions {
  readonly source?: string;
  readonly sourcePort?: number;
  readonly destination?: string;
  readonly destinationPort?: number;
  readonly deadline?: Instant;
}

export class TcpRig {
  readonly clock: ManualClock;
  readonly memory: ArrayBuffer;
  readonly device: MemoryDevice;
  readonly owner = new RecordingOwner();
  readonly counters = new Counters(new ArrayBuffer(COUNTERS_BYTES));
  readonly settings: TcpSettings;
  readonly tracking = trackSettings();
  readonly limits: StateLimits;
  readonly stack: Stack;
  readonly peer: ScriptedPeer;
  /** Flows of an earlier stack in the same memory. */
  readonly leftovers: FlowSnapshot[] = [];
  readonly #options: RigOptions;
  /** Acknowledgments wait for `flush` while true, as inside a batch of the loop. */
  #isBatch = false;
  #randomState = 1;

  constructor(options: RigOptions = {}) {
    this.#options = options;
    this.limits = { ...LIMITS, ...options.limits };
    this.settings = { ...SETTINGS, slabBytesPerFlow: this.limits.slabBytesPerFlow };
    Object.assign(this.settings, options.settings);
    const capabilities = { ...(options.capabilities ?? FULL_OFFLOAD) };
    this.clock = new ManualClock(options.start ?? startFor(options));
    this.memory = options.memory ?? new ArrayBuffer(stateBytes(this.limits));
    this.device = new MemoryDevice(this.memory, capabilities);
    this.stack = new Stack({
      memory: this.memory,
      limits: this.limits,
      counters: this.counters,
      capabilities,
      sink: this.device,
      owner: this.owner,
      ...(options.tap === undefined ? {} : { tap: options.tap }),
      tracking: this.tracking,
      settings: this.settings,
      onLeftover: (rowAt) => {
        const flow = readFlowRow(new DataView(this.memory), rowAt);
        if (flow !== undefined) this.leftovers.push(flow);
      },
      secrets: SECRETS,
      randomize: (into) => {
        for (let i = 0; i < into.length; i++) into[i] = this.#random();
      },
      now: this.clock.now,
      ...(options.queue === undefined ? {} : { queue: options.queue }),
    });
    this.owner.attach(this.stack);
    this.peer = this.newPeer({ iss: options.peerIss ?? 1_000_000 });
  }

  /** Secrets of a trace that runs the same way every time. */
  #random(): number {
    this.#randomState = (Math.imul(this.#randomState, 1_664_525) + 1_013_904_223) >>> 0;
    return this.#randomState;
  }

  get now(): Instant {
    return this.clock.now;
  }

  get frames() {
    return this.device.frames;
  }

  /** A further client; by default it differs from the first in its port. */
  newPeer(options: Partial<PeerOptions> = {}): ScriptedPeer {
    const isIpv4 = this.#options.family !== 6;
    return new ScriptedPeer(this, {
      address: isIpv4 ? '198.18.0.1' : 'fd00::1',
      port: 40_000,
      serverAddress: isIpv4 ? '198.18.0.80' : 'fd00::80',
      serverPort: 443,
      iss: 1_000_000,
      timestamps: this.#options.timestamps ?? false,
      ...options,
    });
  }

  deliver(packet: Uint8Array, gsoSize = 0): void {
    this.deliverFrame(this.device.incoming(packet, gsoSize));
  }

  /** Hands bytes to the stack as the device would. */
  deliverFrame(frame: Uint8Array): void {
    const { stack } = this;
    stack.arena.bytes.set(frame, stack.frameAt);
    stack.ingest(stack.frameAt, frame.length, this.now);
    if (!this.#isBatch) stack.flush(this.now);
  }

  /** Hands over a frame of the stack behind another queue. */
  takeOver(frame: Uint8Array): void {
    const { stack } = this;
    stack.arena.bytes.set(frame, stack.frameAt);
    stack.ingestHandedOver(stack.frameAt, frame.length, this.now);
    if (!this.#isBatch) stack.flush(this.now);
  }

  /** Runs `sends` as one batch of frames: acknowledgments that are owed go out at its end. */
  batch(sends: () => void): void {
    this.#isBatch = true;
    sends();
    this.#isBatch = false;
    this.stack.flush(this.now);
  }

  /** Lets time pass, and every timer run when it is due. */
  wait(ms: number): void {
    const end = this.clock.in(ms);
    while (this.stack.pollAt() <= end) {
      this.clock.moveTo(Math.max(this.now, this.stack.pollAt()) as Instant);
      this.stack.expire(this.now);
      this.stack.flush(this.now);
    }
    this.clock.moveTo(end);
  }

  /** Lets time pass until the stack sends something. @returns milliseconds that passed */
  waitForFrame(limitMs = 3_600_000): number {
    const start = this.now;
    const end = this.clock.in(limitMs);
    while (this.frames.length === 0) {
      const next = this.stack.pollAt();
      if (next > end) throw new Error(`nothing was sent within ${limitMs} ms`);
      this.clock.moveTo(Math.max(this.now, next) as Instant);
      this.stack.expire(this.now);
      this.stack.flush(this.now);
    }
    return (this.now - start) / 1000;
  }

  /** The SYN of a modern client. */
  get synLine(): string {
    const options = ['mss 1460', 'nop', 'wscale 7'];
    if (this.#options.timestamps) options.splice(1, 0, `TS val ${this.clock.ms} ecr 0`);
    if (this.#options.sack) options.splice(1, 0, 'sackOK');
    const flags = this.#options.ecn ? 'SEW' : 'S';
    return `${flags} 0:0(0) win 65535 <${options.join(',')}>`;
  }

  /** What it is answered with. */
  get synAnswer(): string {
    return `${this.#options.ecn ? 'SE.' : 'S.'} 0:0(0) ack 1`;
  }

  /** Takes the newest flow from its SYN to ESTABLISHED. @param window  as it stands in the ACK */
  connect(peer = this.peer, window = 512): void {
    this.owner.reactions.syn ??= (row, now) => this.stack.accept(row, now);
    peer.sends(this.synLine);
    peer.expects(this.synAnswer);
    peer.sends(`. 1:1(0) ack 1 win ${window}`);
    peer.expectsNothing();
  }

  /**
   * Has the stack dial a peer, from the address and port that the peer knows as the server's.
   *
   * @returns the row, or why there is none
   */
  dial(peer = this.peer, options: DialOptions = {}): number {
    const { stack } = this;
    const { address, port, serverAddress, serverPort } = peer.options;
    const sourceAt = stack.frameAt;
    const destinationAt = sourceAt + 16;
    const family = writeAddress(options.source ?? serverAddress, stack.arena.view, sourceAt);
    writeAddress(options.destination ?? address, stack.arena.view, destinationAt);
    const row = stack.connect(
      sourceAt,
      options.sourcePort ?? serverPort,
      destinationAt,
      options.destinationPort ?? port,
      family === 4 ? 4 : 16,
      options.deadline ?? NEVER,
      this.now,
    );
    if (row >= 0) this.owner.opened(row);
    return row;
  }

  /** The SYN-ACK of a modern peer. */
  get synAckLine(): string {
    return this.synLine.replace('S 0:0(0)', 'S. 0:0(0) ack 1');
  }

  /** Row of the newest flow. */
  get row(): number {
    return this.owner.last.row;
  }

  get flow() {
    return this.owner.last;
  }

  /** State of the newest flow, as RFC 9293 prints it. */
  get state(): string {
    return tcpStateName(this.stack.tcb(this.row).state);
  }

  /** The stack's cursor, at the newest flow. */
  get tcb() {
    return this.stack.tcb(this.row);
  }

  accept(): void {
    this.stack.accept(this.row, this.now);
  }

  send(length: number): void {
    this.owner.send(this.row, length, this.now);
  }

  close(): void {
    this.owner.close(this.row, this.now);
  }

  eat(bytes: number): void {
    this.owner.eat(this.row, bytes, this.now);
    this.stack.flush(this.now);
  }

  /** Reasons for which packets were dropped, with their numbers: `{ duplicate: 1 }`. */
  get drops(): Record<string, number> {
    const drops: Record<string, number> = {};
    for (let reason = 0; reason < DROP_REASON_COUNT; reason++) {
      const count = this.counters.dropped(reason);
      if (count > 0) drops[DROP_REASON_NAMES[reason]!] = count;
    }
    return drops;
  }

  /** Nothing is held any more: no row, no slab, no timer. */
  expectEmpty(): void {
    expect({
      flows: this.stack.flows.used,
      slabBytes: this.stack.slabs.bytesUsed,
      pollAt: this.stack.pollAt(),
      frames: this.frames.length,
    }).toEqual({ flows: 0, slabBytes: 0, pollAt: NEVER, frames: 0 });
    for (const flow of this.owner.flows) {
      expect(flow.calls.filter((call) => call.startsWith('closed'))).toHaveLength(1);
    }
  }
}

/** The microseconds that make the stack choose `stackIss`: its clock ticks every 4 µs. */
function startFor(options: RigOptions): Instant {
  const { stackIss } = options;
  if (stackIss === undefined) return CLOCK_START;
  const trial = new TcpRig({ ...trialOptions(options), start: CLOCK_START });
  trial.owner.reactions.syn = (row, now) => trial.stack.accept(row, now);
  trial.peer.sends(trial.synLine);
  const chosen = parsePacket(trial.frames[0]!).seq;
  return (CLOCK_START + ((stackIss - chosen) >>> 0) * 4) as Instant;
}

function trialOptions({ stackIss: _, memory: __, tap: ___, ...rest }: RigOptions): RigOptions {
  return rest;
}
