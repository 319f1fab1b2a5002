/** Outgoing frames. That packets are well-formed is checked by the peer of every trace. */
import { describe, expect, test } from 'bun:test';
import { Arena } from '../../src/stack/arena.ts';
import { COUNTERS_BYTES, Counter, Counters } from '../../src/stack/counters.ts';
import type { DeviceCapabilities } from '../../src/stack/device.ts';
import { DropReason } from '../../src/stack/drop-reason.ts';
import { Egress } from '../../src/stack/egress.ts';
import { FLOW_ROW_BYTES, FlowField } from '../../src/stack/flow-row.ts';
import { FrameWriter } from '../../src/stack/frame-writer.ts';
import { NO_TAP } from '../../src/stack/packet-tap.ts';
import { Ecn } from '../../src/stack/wire/ecn.ts';
import { writeAddress } from '../../src/stack/wire/ip-address.ts';
import { asSeq } from '../../src/stack/wire/seq.ts';
import { FULL_OFFLOAD, MemoryDevice, NO_OFFLOAD } from '../support/memory-device.ts';
import { pattern, tcpPacket } from '../support/packet-builder.ts';
import { encodeOptions } from '../support/segment-text.ts';

const ADDRESSES = {
  4: { source: '198.18.0.1', destination: '198.18.0.80' },
  6: { source: 'fd00::1', destination: 'fd00::80' },
} as const;
const HEADROOM = 128;
const PAYLOAD_MAX = 70_000;
const PLAIN: { readonly flags: number; readonly ecn: Ecn } = { flags: 0x18, ecn: Ecn.NOT_ECT };
const REDUCED: typeof PLAIN = { flags: 0x98, ecn: Ecn.ECT_0 };

/** An egress with one flow's row, and a payload behind its headroom. */
class Bench {
  readonly device: MemoryDevice;
  readonly counters = new Counters(new ArrayBuffer(COUNTERS_BYTES));
  readonly egress: Egress;
  readonly #arena: Arena;
  readonly #flowAt: number;
  readonly #payloadAt: number;

  constructor(family: 4 | 6, capabilities: DeviceCapabilities) {
    const size = FrameWriter.BYTES + Egress.BYTES + FLOW_ROW_BYTES + HEADROOM + PAYLOAD_MAX + 512;
    this.#arena = new Arena(new ArrayBuffer(size));
    const { view } = this.#arena;
    this.device = new MemoryDevice(this.#arena.buffer, capabilities);
    const writer = new FrameWriter(this.#arena, this.device, capabilities, this.counters, NO_TAP);
    this.egress = new Egress(this.#arena, writer);
    this.#flowAt = this.#arena.take(FLOW_ROW_BYTES);
    this.#payloadAt = this.#arena.take(HEADROOM + PAYLOAD_MAX) + HEADROOM;
    writeAddress(ADDRESSES[family].source, view, this.#flowAt + FlowField.SOURCE);
    writeAddress(ADDRESSES[family].destination, view, this.#flowAt + FlowField.DESTINATION);
    view.setUint16(this.#flowAt + FlowField.SOURCE_PORT, 40_000, true);
    view.setUint16(this.#flowAt + FlowField.DESTINATION_PORT, 443, true);
    view.setUint8(this.#flowAt + FlowField.FAMILY, family);
  }

  /** Sends the first bytes of a pattern. */
  send(length: number, timestamps: boolean, mss = 1460, fields = PLAIN): boolean {
    this.#arena.bytes.set(pattern(length), this.#payloadAt);
    return this.egress.tcp(
      this.#flowAt,
      asSeq(0xffff_fff0),
      asSeq(77),
      fields.flags,
      500,
      {
        hasTimestamps: timestamps,
        tsValue: 0xfeed_0001,
        tsEcho: 5,
        sackCount: 0,
        sackEdges: new Uint32Array(0),
      },
      length === 0 ? 0 : this.#payloadAt,
      length,
      mss,
      fields.ecn,
    );
  }

  get packets(): Uint8Array[] {
    return this.device.frames.map(({ packet }) => packet);
  }
}

/** What `send` must bring out, made by the builder of the tests. */
function expected(family: 4 | 6, timestamps: boolean, payload: Uint8Array, fields = {}) {
  const { source, destination } = ADDRESSES[family];
  return tcpPacket({
    source: destination,
    destination: source,
    sourcePort: 443,
    destinationPort: 40_000,
    seq: 0xffff_fff0,
    ack: 77,
    flags: 0x18,
    window: 500,
    options: timestamps
      ? encodeOptions(['nop', 'nop', `TS val ${0xfeed_0001} ecr 5`])
      : new Uint8Array(0),
    payload,
    ...fields,
  });
}

for (const family of [4, 6] as const) {
  for (const timestamps of [false, true]) {
    const name = `IPv${family}, timestamps ${timestamps}`;
    for (const capabilities of [FULL_OFFLOAD, NO_OFFLOAD]) {
      const device = capabilities.vnetHeader ? 'with all offloads' : 'without any';
      test(`${name}: one segment is one packet, ${device}`, () => {
        for (const length of [0, 1, 100, 1459, 1460]) {
          const bench = new Bench(family, capabilities);
          expect(bench.send(length, timestamps)).toBe(true);
          expect(bench.packets).toEqual([expected(family, timestamps, pattern(length))]);
          expect(bench.device.frames[0]?.isPartial).toBe(capabilities.checksumOffload);
        }
      });
    }

    test(`${name}: a superpacket goes out whole when the device cuts`, () => {
      const bench = new Bench(family, FULL_OFFLOAD);
      bench.send(50_000, timestamps);
      expect(bench.packets).toEqual([expected(family, timestamps, pattern(50_000))]);
      expect(bench.device.frames[0]?.gsoSize).toBe(1460);
      expect(bench.counters.get(Counter.DEVICE_SUPERFRAMES_OUT)).toBe(1);
    });

    test(`${name}: the device is told of CWR on a superpacket, and ECT is on its header`, () => {
      const bench = new Bench(family, FULL_OFFLOAD);
      bench.send(50_000, timestamps, 1460, REDUCED);
      const fields = { flags: 0x98, trafficClass: 2 };
      expect(bench.packets).toEqual([expected(family, timestamps, pattern(50_000), fields)]);
      expect(bench.device.frames[0]?.gsoSize).toBe(1460);
    });

    test(`${name}: CWR is kept to the first packet where the device does not know it`, () => {
      const bench = new Bench(family, { ...FULL_OFFLOAD, tsoEcn: false });
      bench.send(3000, timestamps, 1400, REDUCED);
      const payload = pattern(3000);
      const cut = (from: number, fields: object) =>
        expected(family, timestamps, payload.slice(from, from + 1400), {
          trafficClass: 2,
          ...fields,
        });
      expect(bench.packets).toEqual([
        cut(0, { flags: 0x90 }),
        cut(1400, { flags: 0x10, seq: 1384, identification: 1 }),
        cut(2800, { flags: 0x18, seq: 2784, identification: 2 }),
      ]);
      bench.send(3000, timestamps, 1400);
      expect(bench.device.frames.at(-1)?.gsoSize).toBe(1400);
    });

    test(`${name}: a superpacket is cut here when the device cannot`, () => {
      const bench = new Bench(family, { ...FULL_OFFLOAD, tso4: false, tso6: false });
      bench.send(3000, timestamps, 1400);
      const payload = pattern(3000);
      expect(bench.packets).toEqual([
        expected(family, timestamps, payload.slice(0, 1400), { flags: 0x10 }),
        expected(family, timestamps, payload.slice(1400, 2800), {
          flags: 0x10,
          seq: 1384,
          identification: 1,
        }),
        expected(family, timestamps, payload.slice(2800), { seq: 2784, identification: 2 }),
      ]);
    });
  }
}

describe('the device', () => {
  test('that refuses a frame is a counted drop, and the caller is told', () => {
    const bench = new Bench(4, FULL_OFFLOAD);
    bench.device.isRefusing = true;
    expect(bench.send(100, false)).toBe(false);
    expect(bench.counters.dropped(DropReason.DEVICE_WRITE_FAILED)).toBe(1);
    expect(bench.counters.get(Counter.DEVICE_FRAMES_OUT)).toBe(0);
  });

  test('may lose an offload while it runs', () => {
    const capabilities = { ...FULL_OFFLOAD };
    const bench = new Bench(4, capabilities);
    bench.send(3000, false);
    capabilities.tso4 = false;
    bench.send(3000, false);
    expect(bench.device.frames.map(({ gsoSize }) => gsoSize)).toEqual([1460, 0, 0, 0]);
  });

  test('bounds the MSS by its MTU', () => {
    const bench = new Bench(4, { ...FULL_OFFLOAD, mtu: 9000 });
    expect(bench.egress.mssFor(4)).toBe(8960);
    expect(bench.egress.mssFor(6)).toBe(8940);
  });
});
