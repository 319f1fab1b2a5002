/** The path of a packet through the whole stack makes no object. */

import { expect, setDefaultTimeout, test } from 'bun:test';
import { COUNTERS_BYTES, Counter, Counters } from '../../src/stack/counters.ts';
import { FlowCount } from '../../src/stack/flow-counts.ts';
import { flowTotal } from '../../src/stack/flow-tally.ts';
import { stateBytes } from '../../src/stack/layout.ts';
import { SLAB_PAYLOAD_AT } from '../../src/stack/slab-pool.ts';
import { Stack } from '../../src/stack/stack.ts';
import type { TcpSettings } from '../../src/stack/tcp/context.ts';
import type { FlowOwner } from '../../src/stack/tcp/owner.ts';
import { TcbFlag } from '../../src/stack/tcp/tcb.ts';
import type { Instant } from '../../src/stack/time.ts';
import { FULL_OFFLOAD } from '../support/memory-device.ts';
import { allocatedTypes } from '../support/no-alloc.ts';
import { concat, tcpPacket } from '../support/packet-builder.ts';
import { encodeOptions } from '../support/segment-text.ts';
import { LIMITS } from '../support/tcp-rig.ts';
import { trackSettings } from '../support/tracking.ts';

// Each test makes 22,000 calls, which takes its time on a busy machine.
setDefaultTimeout(60_000);

const VNET = 10;
const SEQ_AT = 4;
const ACK_AT = 8;
const FLAGS_AT = 13;
const ISS = 5000;
const ADDRESSES = {
  4: { source: '198.18.0.1', destination: '198.18.0.80', tcpAt: VNET + 20 },
  6: { source: 'fd00::1', destination: 'fd00::80', tcpAt: VNET + 40 },
} as const;

/** Takes everything, and keeps nothing: an owner that allocates would hide the stack. */
class Sink implements FlowOwner {
  stack: Stack | undefined;
  taken = 0;

  isNat(): boolean {
    return false;
  }

  isTakenBefore(): boolean {
    return false;
  }

  onParked(): void {}
  onDatagram(): void {}

  onFlow(row: number, now: Instant): void {
    this.stack?.accept(row, now);
  }
  onDeadline(): void {}
  onEstablished(): void {}
  onConnected(): void {}
  onData(_row: number, _at: number, length: number): number {
    this.taken += length;
    return length;
  }
  onWaiting(): void {}
  onFin(): void {}
  onRoom(): void {}
  onClosed(): void {}
}

/** A connection whose frames are written once and have their numbers changed in place. */
class Circuit {
  readonly stack: Stack;
  readonly owner = new Sink();
  readonly counters = new Counters(new ArrayBuffer(COUNTERS_BYTES));
  readonly #tcpAt: number;
  readonly #frame: Uint8Array;
  readonly #ack: Uint8Array;
  readonly #syn: Uint8Array;
  readonly #reset: Uint8Array;
  now = 1_000_000_000;
  /** Sequence number of the last segment that the stack sent, behind its payload. */
  sent = 0;
  #seq = ISS + 1;

  /** @param hasEcn  the client uses ECN, and all its data comes with CE */
  constructor(
    family: 4 | 6,
    payload: number,
    hasEcn = false,
    congestion?: TcpSettings['congestion'],
  ) {
    const memory = new ArrayBuffer(stateBytes(LIMITS));
    const { source, destination, tcpAt } = ADDRESSES[family];
    this.#tcpAt = tcpAt;
    const view = new DataView(memory);
    this.stack = new Stack({
      memory,
      limits: LIMITS,
      counters: this.counters,
      capabilities: FULL_OFFLOAD,
      sink: {
        transmit: (at, length) => {
          const headers = tcpAt + (view.getUint8(at + tcpAt + 12) >>> 4) * 4;
          const isSyn = (view.getUint8(at + tcpAt + 13) & 2) !== 0 ? 1 : 0;
          this.sent = (view.getUint32(at + tcpAt + SEQ_AT) + length - headers + isSyn) >>> 0;
          return true;
        },
      },
      owner: this.owner,
      tracking: trackSettings(),
      settings: {
        slabBytesPerFlow: LIMITS.slabBytesPerFlow,
        keepaliveUs: 60_000_000,
        ...(congestion === undefined ? {} : { congestion }),
      },
      onLeftover: () => {},
      secrets: new Uint32Array(10).fill(77),
      randomize: (into) => into.fill(78),
      now: this.now as Instant,
    });
    this.owner.stack = this.stack;
    const frame = (fields: object) =>
      concat([
        // NEEDS_CSUM: the frame comes from this machine, and its checksum is not looked at.
        Uint8Array.of(1, 0, 0, 0, 0, 0, tcpAt - VNET, 0, 16, 0),
        tcpPacket({ source, destination, sourcePort: 9, destinationPort: 80, ...fields }),
      ]);
    const options = encodeOptions(['nop', 'nop', 'TS val 7 ecr 0']);
    this.#frame = frame({
      flags: 0x18,
      window: 8000,
      trafficClass: hasEcn ? 3 : 0,
      options,
      payload: new Uint8Array(payload),
    });
    this.#ack = frame({ flags: 0x10, window: 8000, options });
    const words = ['mss 1460', 'TS val 7 ecr 0', 'wscale 7'];
    const syn = encodeOptions(congestion === undefined ? words : [...words, 'sackOK']);
    this.#syn = frame({ flags: hasEcn ? 0xc2 : 2, seq: ISS, options: syn });
    this.#reset = frame({ flags: 4 });
    this.#ingest(this.#syn);
    this.acknowledge();
    if (this.stack.tcb(0).state !== 4) throw new Error('no connection');
  }

  /** One segment of the client, and what follows in a turn of the loop. */
  data(): void {
    this.#number(this.#frame);
    this.#ingest(this.#frame);
    this.#seq += this.#frame.length - this.#ack.length;
  }

  /** @param flags  ACK, or ECE with it */
  acknowledge(flags = 0x10): void {
    this.#ack[this.#tcpAt + FLAGS_AT] = flags;
    this.#number(this.#ack);
    this.#ingest(this.#ack);
  }

  /** The client resets, and connects again. */
  reconnect(): void {
    this.#number(this.#reset);
    this.#ingest(this.#reset);
    this.#seq = ISS + 1;
    this.#ingest(this.#syn);
    this.acknowledge();
  }

  /** An early segment: the one that it waits for is left out, and follows. */
  early(): void {
    const length = this.#frame.length - this.#ack.length;
    this.#seq += length;
    this.#number(this.#frame);
    this.#ingest(this.#frame);
    this.#seq -= length;
    this.data();
    this.#seq += length;
  }

  transmit(length: number): void {
    const { stack } = this;
    const room = stack.room(0, this.now as Instant);
    if (room < length) throw new Error('no room');
    const slab = stack.slabs.take(length);
    stack.arena.bytes.fill(1, slab + SLAB_PAYLOAD_AT, slab + SLAB_PAYLOAD_AT + 8);
    stack.transmit(0, slab, length, this.now as Instant);
  }

  /** Sends what the window and the pacer allow. */
  fill(): void {
    const { stack } = this;
    const now = this.now as Instant;
    for (let room = stack.room(0, now); room > 0; room = stack.room(0, now)) {
      const length = Math.min(room, stack.superpacketBytes(0));
      stack.transmit(0, stack.slabs.take(length), length, now);
    }
  }

  turn(us: number): void {
    const { stack } = this;
    this.now += us;
    if (stack.pollAt() <= this.now) stack.expire(this.now as Instant);
    stack.flush(this.now as Instant);
  }

  #ingest(frame: Uint8Array): void {
    const { stack } = this;
    stack.arena.bytes.set(frame, stack.frameAt);
    stack.ingest(stack.frameAt, frame.length, this.now as Instant);
  }

  #number(frame: Uint8Array): void {
    this.#put(frame, this.#tcpAt + SEQ_AT, this.#seq);
    this.#put(frame, this.#tcpAt + ACK_AT, this.sent);
  }

  #put(frame: Uint8Array, at: number, value: number): void {
    frame[at] = value >>> 24;
    frame[at + 1] = value >>> 16;
    frame[at + 2] = value >>> 8;
    frame[at + 3] = value;
  }
}

for (const family of [4, 6] as const) {
  test(`IPv${family}: data of the client allocates nothing, acknowledgments included`, () => {
    const circuit = new Circuit(family, 1448);
    const allocated = allocatedTypes(() => {
      circuit.data();
      circuit.turn(100);
    });
    expect(allocated).toEqual([]);
    expect(circuit.owner.taken).toBe(22_000 * 1448);
  });

  test(`IPv${family}: data to the client and its acknowledgment allocate nothing`, () => {
    const circuit = new Circuit(family, 0);
    const allocated = allocatedTypes(() => {
      circuit.transmit(10_000);
      circuit.turn(50);
      circuit.acknowledge();
      circuit.turn(50);
    });
    expect(allocated).toEqual([]);
    expect(flowTotal(circuit.counters, FlowCount.BYTES_DOWN)).toBe(22_000 * 10_000);
    expect(circuit.stack.slabs.bytesUsed).toBe(0);
  });
}

test('marked packets, their echo and cuts of the window allocate nothing', () => {
  const circuit = new Circuit(4, 100, true);
  const allocated = allocatedTypes((call) => {
    circuit.data();
    circuit.transmit(10_000);
    circuit.turn(50);
    circuit.acknowledge(call % 50 === 49 ? 0x50 : 0x10);
    circuit.turn(50);
  });
  expect(allocated).toEqual([]);
  expect(circuit.counters.get(Counter.ECN_MARKED)).toBe(22_000);
  expect(circuit.counters.get(Counter.ECN_WINDOW_CUTS)).toBeGreaterThan(400);
});

test('early segments and delayed acknowledgments allocate nothing', () => {
  const circuit = new Circuit(4, 100);
  const allocated = allocatedTypes(() => {
    circuit.early();
    circuit.turn(45_000);
  });
  expect(allocated).toEqual([]);
  expect(circuit.owner.taken).toBe(22_000 * 200);
});

test('timeouts and what is sent again allocate nothing', () => {
  const circuit = new Circuit(4, 0);
  const allocated = allocatedTypes(() => {
    // Two segments: what the threshold is after timeouts.
    circuit.transmit(2800);
    circuit.turn(1000);
    // Past the longest backoff that one loss can bring.
    circuit.turn(70_000_000);
    circuit.sent = (circuit.stack.tcb(0).sndNxt as number) >>> 0;
    circuit.acknowledge();
  });
  expect(allocated).toEqual([]);
  expect(circuit.counters.get(Counter.TCP_RETRANSMITS)).toBeGreaterThanOrEqual(22_000);
});

for (const congestion of ['cubic', 'bbr'] as const) {
  test(`paced data to the client allocates nothing with ${congestion}, nor does its model`, () => {
    const circuit = new Circuit(4, 0, false, congestion);
    let wasPaced = 0;
    const allocated = allocatedTypes(() => {
      circuit.fill();
      const end = circuit.sent;
      for (let i = 0; i < 4; i++) {
        circuit.turn(2500);
        circuit.fill();
      }
      if (circuit.stack.tcb(0).has(TcbFlag.PACED)) wasPaced += 1;
      circuit.sent = end;
      circuit.acknowledge();
      circuit.turn(100);
    });
    expect(allocated).toEqual([]);
    expect(wasPaced).toBeGreaterThan(20_000);
    expect(flowTotal(circuit.counters, FlowCount.BYTES_DOWN)).toBeGreaterThan(22_000 * 10_000);
  });
}

test('connections that come and go allocate nothing', () => {
  const circuit = new Circuit(6, 100);
  const allocated = allocatedTypes(() => {
    circuit.data();
    circuit.reconnect();
    circuit.turn(100);
  });
  expect(allocated).toEqual([]);
  expect(circuit.counters.get(Counter.FLOWS_TOTAL)).toBe(22_001);
  expect(circuit.stack.flows.used).toBe(1);
});
