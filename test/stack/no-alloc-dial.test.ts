/** Connections that the stack opens are opened, answered and given up without making an object. */

import { expect, setDefaultTimeout, test } from 'bun:test';
import { CloseReason } from '../../src/stack/close-reason.ts';
import { COUNTERS_BYTES, Counter, Counters } from '../../src/stack/counters.ts';
import { ClosedBy } from '../../src/stack/flow-row.ts';
import { stateBytes } from '../../src/stack/layout.ts';
import { Stack } from '../../src/stack/stack.ts';
import type { FlowOwner } from '../../src/stack/tcp/owner.ts';
import { type Instant, NEVER } from '../../src/stack/time.ts';
import { writeAddress } from '../../src/stack/wire/ip-address.ts';
import { FULL_OFFLOAD } from '../support/memory-device.ts';
import { allocatedTypes } from '../support/no-alloc.ts';
import { concat, tcpPacket } from '../support/packet-builder.ts';
import { encodeOptions } from '../support/segment-text.ts';
import { LIMITS } from '../support/tcp-rig.ts';
import { trackSettings } from '../support/tracking.ts';

// Each test makes 22,000 calls, which takes its time on a busy machine.
setDefaultTimeout(60_000);

const CALLS = 22_000;
const VNET = 10;
/** Offsets in a TCP header. */
const DESTINATION_PORT_AT = 2;
const ACK_AT = 8;
const ADDRESSES = {
  4: { near: '198.18.0.80', far: '198.18.0.1', tcpAt: VNET + 20, length: 4 },
  6: { near: 'fd00::80', far: 'fd00::1', tcpAt: VNET + 40, length: 16 },
} as const;

class Counting implements FlowOwner {
  connected = 0;
  closed = 0;

  isNat(): boolean {
    return false;
  }

  isTakenBefore(): boolean {
    return false;
  }

  onParked(): void {}
  onDatagram(): void {}

  onFlow(): void {}
  onDeadline(): void {}
  onEstablished(): void {}
  onConnected(): void {
    this.connected += 1;
  }
  onData(_row: number, _at: number, length: number): number {
    return length;
  }
  onWaiting(): void {}
  onFin(): void {}
  onRoom(): void {}
  onClosed(): void {
    this.closed += 1;
  }
}

/** A stack that dials, and a far end whose few frames get their numbers in place. */
class Exchange {
  readonly stack: Stack;
  readonly owner = new Counting();
  readonly counters = new Counters(new ArrayBuffer(COUNTERS_BYTES));
  readonly synAck: Uint8Array;
  readonly syn: Uint8Array;
  readonly refusal: Uint8Array;
  readonly badAck: Uint8Array;
  readonly #addressesAt: number;
  readonly #addressLength: number;
  readonly #tcpAt: number;
  #now = 1_000_000_000;
  /** Of the last segment that the stack sent. */
  #port = 0;
  #end = 0;

  constructor(family: 4 | 6) {
    const memory = new ArrayBuffer(stateBytes(LIMITS) + 64);
    const { near, far, tcpAt, length } = ADDRESSES[family];
    const view = new DataView(memory);
    this.#tcpAt = tcpAt;
    this.#addressLength = length;
    this.stack = new Stack({
      memory,
      limits: LIMITS,
      counters: this.counters,
      capabilities: FULL_OFFLOAD,
      sink: {
        transmit: (at) => {
          this.#port = view.getUint16(at + tcpAt);
          const isSyn = (view.getUint8(at + tcpAt + 13) & 2) !== 0 ? 1 : 0;
          this.#end = (view.getUint32(at + tcpAt + 4) + isSyn) >>> 0;
          return true;
        },
      },
      owner: this.owner,
      tracking: trackSettings(),
      settings: { slabBytesPerFlow: LIMITS.slabBytesPerFlow, keepaliveUs: 60_000_000 },
      onLeftover: () => {},
      secrets: new Uint32Array(8).fill(77),
      randomize: (into) => into.fill(78),
      now: this.#now as Instant,
    });
    this.#addressesAt = this.stack.arena.take(32);
    writeAddress(near, view, this.#addressesAt);
    writeAddress(far, view, this.#addressesAt + 16);
    const frame = (fields: object) =>
      concat([
        // NEEDS_CSUM: the frame comes from this machine, and its checksum is not looked at.
        Uint8Array.of(1, 0, 0, 0, 0, 0, tcpAt - VNET, 0, 16, 0),
        tcpPacket({ source: far, destination: near, sourcePort: 443, seq: 5000, ...fields }),
      ]);
    const options = encodeOptions(['mss 1460', 'sackOK', 'TS val 7 ecr 0', 'wscale 7']);
    this.synAck = frame({ flags: 0x12, options, payload: new Uint8Array(100) });
    this.syn = frame({ flags: 0x02, options });
    this.refusal = frame({ flags: 0x14 });
    this.badAck = frame({ flags: 0x12, options });
  }

  dial(deadline = NEVER): number {
    return this.stack.connect(
      this.#addressesAt,
      0,
      this.#addressesAt + 16,
      443,
      this.#addressLength,
      deadline,
      this.#now as Instant,
    );
  }

  /** @param offset  of the ACK from what the stack sent */
  answer(frame: Uint8Array, offset = 0): void {
    const { stack } = this;
    stack.arena.bytes.set(frame, stack.frameAt);
    const { view } = stack.arena;
    view.setUint16(stack.frameAt + this.#tcpAt + DESTINATION_PORT_AT, this.#port);
    view.setUint32(stack.frameAt + this.#tcpAt + ACK_AT, (this.#end + offset) >>> 0);
    stack.ingest(stack.frameAt, frame.length, this.#now as Instant);
    stack.flush(this.#now as Instant);
  }

  abandon(row: number): void {
    const now = this.#now as Instant;
    this.stack.abort(row, CloseReason.DIAL_ABANDONED, ClosedBy.GATEWAY, now);
  }

  turn(us: number): void {
    this.#now += us;
    if (this.stack.pollAt() <= this.#now) this.stack.expire(this.#now as Instant);
  }

  expectNothingLeft(): void {
    expect(this.owner.closed).toBe(CALLS);
    expect(this.stack.flows.used).toBe(0);
    expect(this.stack.slabs.bytesUsed).toBe(0);
    expect(this.stack.pollAt()).toBe(NEVER);
  }
}

for (const family of [4, 6] as const) {
  test(`IPv${family}: a dial that is answered, with data, allocates nothing`, () => {
    const exchange = new Exchange(family);
    const allocated = allocatedTypes(() => {
      const row = exchange.dial();
      exchange.answer(exchange.synAck);
      exchange.abandon(row);
      exchange.turn(100);
    });
    expect(allocated).toEqual([]);
    expect(exchange.owner.connected).toBe(CALLS);
    exchange.expectNothingLeft();
  });

  test(`IPv${family}: a dial that is refused allocates nothing`, () => {
    const exchange = new Exchange(family);
    const allocated = allocatedTypes(() => {
      exchange.dial();
      exchange.answer(exchange.refusal);
      exchange.turn(100);
    });
    expect(allocated).toEqual([]);
    expect(exchange.counters.closed(CloseReason.DIAL_REFUSED)).toBe(CALLS);
    exchange.expectNothingLeft();
  });

  test(`IPv${family}: SYNs that cross, and wrong ACKs, allocate nothing`, () => {
    const exchange = new Exchange(family);
    const allocated = allocatedTypes(() => {
      const row = exchange.dial();
      exchange.answer(exchange.badAck, 9);
      exchange.abandon(row);
      const second = exchange.dial();
      exchange.answer(exchange.syn);
      exchange.answer(exchange.synAck);
      exchange.abandon(second);
      exchange.turn(100);
    });
    expect(allocated).toEqual([]);
    expect(exchange.owner.connected).toBe(CALLS);
  });
}

test('a dial that nobody answers, sent again and given up, allocates nothing', () => {
  const exchange = new Exchange(4);
  const allocated = allocatedTypes(() => {
    exchange.dial();
    for (let i = 0; i < 8; i++) exchange.turn(61_000_000);
  });
  expect(allocated).toEqual([]);
  expect(exchange.counters.get(Counter.TCP_RETRANSMITS)).toBe(7 * CALLS);
  exchange.expectNothingLeft();
});
