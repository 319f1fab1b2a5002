/** A device with superpackets and one without, read in batches. */
import { expect, test } from 'bun:test';
import { type FrameSource, TunInput } from '../../../../src/gateway/dataplane/device/tun-input.ts';
import { Counter } from '../../../../src/stack/counters.ts';
import { NO_OFFLOAD } from '../../../support/memory-device.ts';
import { parseSegment } from '../../../support/segment-text.ts';
import { TcpRig } from '../../../support/tcp-rig.ts';

/** Hands out frames as they lie in a list. */
class Queue implements FrameSource {
  readonly vnetHeader: boolean;
  readonly frames: Uint8Array[] = [];
  readonly #bytes: Uint8Array;

  constructor(rig: TcpRig) {
    this.vnetHeader = rig.device.capabilities.vnetHeader;
    this.#bytes = rig.stack.arena.bytes;
  }

  read(at: number, length: number): number {
    const frame = this.frames.shift();
    if (frame === undefined) return 0;
    expect(length).toBeGreaterThanOrEqual(65_535);
    this.#bytes.set(frame, at);
    return frame.length;
  }
}

test('what comes without headers arrives as one segment, and is acknowledged once', () => {
  const rig = new TcpRig({ capabilities: NO_OFFLOAD });
  rig.connect();
  const queue = new Queue(rig);
  const input = new TunInput(rig.stack, rig.counters);
  for (let i = 0; i < 30; i++) {
    queue.frames.push(
      rig.peer.packet(parseSegment(`. ${1 + i * 1460}:${1 + (i + 1) * 1460}(1460) ack 1 win 512`)),
    );
  }
  expect(input.readBatch(queue, rig.now)).toBe(30);
  rig.stack.flush(rig.now);
  expect(rig.counters.get(Counter.PACKETS_COALESCED)).toBe(30);
  expect(rig.counters.get(Counter.DEVICE_SUPERFRAMES_IN)).toBe(1);
  rig.peer.expects(`. 1:1(0) ack ${1 + 30 * 1460}`);
  rig.peer.expectsNothing();
});

test.each([
  [true, 64],
  [false, 96],
])('a batch ends at its cap (headers: %p), and the rest comes with the next', (hasHeader, cap) => {
  const rig = new TcpRig(hasHeader ? {} : { capabilities: NO_OFFLOAD });
  const queue = new Queue(rig);
  const input = new TunInput(rig.stack, rig.counters);
  queue.frames.push(...Array.from({ length: cap + 10 }, () => new Uint8Array(60)));
  expect(input.readBatch(queue, rig.now)).toBe(cap);
  expect(input.readBatch(queue, rig.now)).toBe(10);
  expect(input.readBatch(queue, rig.now)).toBe(0);
  expect(rig.counters.get(Counter.DEVICE_FRAMES_IN)).toBe(cap + 10);
  expect(rig.counters.get(Counter.DEVICE_READ_BATCHES)).toBe(2);
  expect(rig.counters.get(Counter.DEVICE_READ_BATCHES_FULL)).toBe(1);
});
