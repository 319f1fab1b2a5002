/**
 * The link of the lossy bench: a process that carries packets between two TUN devices and treats
 * them as two lanes say (test/support/lane.ts). The devices have no offload, so that each packet is
 * one segment of at most the MTU, and no kernel merges or cuts behind our back.
 *
 *   bun relay.ts '{"near":"c0","far":"g0","up":{…},"down":{…},"seed":1}'
 *
 * It prints a line when the devices are there, and `RelayReport` when its standard input ends.
 */
import { dlopen, FFIType } from 'bun:ffi';
import { writeSync } from 'node:fs';
import { monotonicNow } from '../../../src/ffi/clock.ts';
import { libc } from '../../../src/ffi/libc.ts';
import { addressOf, allocateStruct } from '../../../src/ffi/memory.ts';
import { HOST_ORDER } from '../../../src/ffi/structs.ts';
import { TunDevice } from '../../../src/ffi/tun-device.ts';
import { DueQueue } from '../../support/due-queue.ts';
import { Lane, type LaneCounts, type LaneShape } from '../../support/lane.ts';

export interface RelayOptions {
  /** Name of the device that the harness moves to the client. */
  readonly near: string;
  readonly far: string;
  /** From near to far. */
  readonly up: LaneShape;
  readonly down: LaneShape;
  readonly seed: number;
}

export interface RelayReport {
  readonly up: LaneCounts;
  readonly down: LaneCounts;
  /** Packets that found no slot, or no room in the device: the relay was too small, or too slow. */
  readonly starved: number;
  /** How late a packet left at most, in microseconds: the relay's own jitter. */
  readonly latestUs: number;
}

export const READY_LINE = 'ready';

const SLOT_BYTES = 2048;
const SLOTS = 16_384;
/** Packets read from one device before the other has its turn. */
const BURST = 64;

const POLLIN = 1;
/** `struct pollfd`: fd, events, revents. */
const POLL_BYTES = 8;
const POLL_EVENTS_AT = 4;
const POLL_REVENTS_AT = 6;
const STDIN = 0;
const NANOSECONDS = 1e9;
const PR_SET_TIMERSLACK = 29;

/** `epoll_wait` counts milliseconds, in which a fast link carries many packets. */
const { ppoll } = dlopen('libc.so.6', {
  ppoll: {
    args: [FFIType.u64_fast, FFIType.u64_fast, FFIType.u64_fast, FFIType.u64_fast],
    returns: FFIType.i32,
  },
}).symbols;

interface Packet {
  readonly slot: number;
  readonly length: number;
  readonly to: TunDevice;
}

class Relay {
  readonly #near: TunDevice;
  readonly #far: TunDevice;
  readonly #up: Lane;
  readonly #down: Lane;
  readonly #memory = new ArrayBuffer(SLOTS * SLOT_BYTES);
  readonly #bytes = new Uint8Array(this.#memory);
  readonly #address = addressOf(this.#memory);
  readonly #free = Array.from({ length: SLOTS }, (_, slot) => slot);
  readonly #queue = new DueQueue<Packet>();
  readonly #polls = allocateStruct(3 * POLL_BYTES);
  readonly #timeout = allocateStruct(16);
  #starved = 0;
  #latestUs = 0;

  constructor({ near, far, up, down, seed }: RelayOptions) {
    this.#near = TunDevice.open({ name: near, offload: false });
    this.#far = TunDevice.open({ name: far, offload: false });
    this.#up = new Lane(up, 2 * seed);
    this.#down = new Lane(down, 2 * seed + 1);
    for (const [i, fd] of [this.#near.fd, this.#far.fd, STDIN].entries()) {
      this.#polls.view.setInt32(i * POLL_BYTES, fd, HOST_ORDER);
      this.#polls.view.setInt16(i * POLL_BYTES + POLL_EVENTS_AT, POLLIN, HOST_ORDER);
    }
  }

  /** Carries packets until the standard input ends. */
  run(): RelayReport {
    while (this.#wait()) {
      this.#read(this.#near, this.#far, this.#up);
      this.#read(this.#far, this.#near, this.#down);
      this.#deliver();
    }
    return {
      up: this.#up.counts,
      down: this.#down.counts,
      starved: this.#starved,
      latestUs: Math.round(this.#latestUs),
    };
  }

  /** Waits for a packet, or until one is due. @returns false when the input ended */
  #wait(): boolean {
    const leftUs = Math.min(1e6, Math.max(0, this.#queue.due - monotonicNow()));
    const { view, address } = this.#timeout;
    view.setBigInt64(0, BigInt(Math.floor(leftUs / 1e6)), HOST_ORDER);
    view.setBigInt64(8, BigInt(Math.ceil((leftUs * 1000) % NANOSECONDS)), HOST_ORDER);
    ppoll(this.#polls.address, 3, address, 0);
    return this.#polls.view.getInt16(2 * POLL_BYTES + POLL_REVENTS_AT, HOST_ORDER) === 0;
  }

  #read(from: TunDevice, to: TunDevice, lane: Lane): void {
    for (let i = 0; i < BURST; i++) {
      const slot = this.#free.at(-1);
      if (slot === undefined) {
        this.#starved += 1;
        return;
      }
      const length = from.read(this.#address + slot * SLOT_BYTES, SLOT_BYTES);
      if (length <= 0) return;
      lane.admit(monotonicNow(), length);
      if (lane.copies === 0) continue;
      this.#free.pop();
      if (lane.corruptBit >= 0) {
        const at = slot * SLOT_BYTES + (lane.corruptBit >>> 3);
        this.#bytes[at] = this.#bytes[at]! ^ (1 << (lane.corruptBit & 7));
      }
      this.#queue.push(lane.dueUs, { slot, length, to });
      if (lane.copies === 2) this.#repeat(slot, length, to, lane.dueUs);
    }
  }

  #repeat(slot: number, length: number, to: TunDevice, dueUs: number): void {
    const copy = this.#free.pop();
    if (copy === undefined) {
      this.#starved += 1;
      return;
    }
    this.#bytes.copyWithin(copy * SLOT_BYTES, slot * SLOT_BYTES, slot * SLOT_BYTES + length);
    this.#queue.push(dueUs, { slot: copy, length, to });
  }

  #deliver(): void {
    const now = monotonicNow();
    while (this.#queue.due <= now) {
      this.#latestUs = Math.max(this.#latestUs, now - this.#queue.due);
      const { slot, length, to } = this.#queue.pop();
      // A device that is down, and a damaged version nibble, are refused: lost, as on a wire.
      to.write(this.#address + slot * SLOT_BYTES, length);
      this.#free.push(slot);
    }
  }
}

if (import.meta.main) {
  libc.prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
  const relay = new Relay(JSON.parse(process.argv[2] ?? '{}'));
  writeSync(1, `${READY_LINE}\n`);
  writeSync(1, `${JSON.stringify(relay.run())}\n`);
}
