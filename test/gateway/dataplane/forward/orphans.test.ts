/** What an upstream gets of a client that has reset its connection. */
import { describe, expect, test } from 'bun:test';
import net from 'node:net';
import { monotonicNow } from '../../../../src/ffi/clock.ts';
import { Counter } from '../../../../src/stack/counters.ts';
import { FlowField } from '../../../../src/stack/flow-row.ts';
import { after, type Instant, seconds } from '../../../../src/stack/time.ts';
import { descriptorCount } from '../../../ffi/support/descriptors.ts';
import { checkStream, Stream } from '../../../support/byte-stream.ts';
import { DataPlaneRig } from '../../../support/dataplane-rig.ts';

const SEGMENT_BYTES = 1400;
/** Bytes that are to wait in the gateway: the socket's buffers are full before. */
const WAITING_BYTES = 100_000;
/** More than any kernel keeps for two sockets. */
const SENT_MAX = 64 * 1024 * 1024;

/** An upstream that reads only when it is told to. */
class SlowUpstream {
  /** Bytes that it has read, all as the client sent them. */
  bytes = 0;
  /** How its connection ended: `end`, `ECONNRESET`. */
  readonly ends: string[] = [];
  readonly #server: net.Server;
  #socket: net.Socket | undefined;

  constructor() {
    this.#server = net.createServer({ allowHalfOpen: true }, (socket) => {
      this.#socket = socket;
      socket.pause();
      socket.on('data', (chunk: Buffer) => {
        checkStream(Stream.CLIENT, this.bytes, chunk, 0, chunk.length);
        this.bytes += chunk.length;
      });
      socket.on('end', () => this.ends.push('end'));
      socket.on('error', (error: NodeJS.ErrnoException) => this.ends.push(error.code ?? ''));
    });
  }

  static async open(): Promise<SlowUpstream> {
    const upstream = new SlowUpstream();
    await new Promise<void>((resolve) => upstream.#server.listen(0, '127.0.0.1', resolve));
    return upstream;
  }

  get port(): number {
    return (this.#server.address() as net.AddressInfo).port;
  }

  get hasClient(): boolean {
    return this.#socket !== undefined;
  }

  read(): void {
    this.#socket?.resume();
  }

  reset(): void {
    this.#socket?.resetAndDestroy();
  }

  [Symbol.dispose](): void {
    this.#socket?.destroy();
    this.#server.close();
  }
}

/** A client that has sent until its bytes wait in the gateway. @returns how many it has sent */
async function fill(rig: DataPlaneRig, upstream: SlowUpstream): Promise<number> {
  await rig.connect();
  await rig.until(() => upstream.hasClient);
  let sent = 0;
  while (rig.stack.waiting(0) < WAITING_BYTES) {
    if (sent > SENT_MAX) throw new Error(`${sent} bytes, and none of them waits`);
    for (let i = 0; i < 10; i++) {
      const end = sent + SEGMENT_BYTES;
      rig.peer.sends(`. ${1 + sent}:${1 + end}(${SEGMENT_BYTES}) ack 1 win 512`);
      sent = end;
    }
    rig.turn();
    rig.takeFrames();
    expect(rig.row(0)?.bytesUp).toBe(sent);
  }
  return sent;
}

const lost = (rig: DataPlaneRig): number => rig.counters.get(Counter.ORPHAN_BYTES_LOST);

describe('a client that resets', () => {
  test('leaves what was acknowledged to its upstream, which sees the reset behind it', async () => {
    using upstream = await SlowUpstream.open();
    using rig = new DataPlaneRig({ port: upstream.port });
    const sent = await fill(rig, upstream);
    rig.peer.sends(`R ${1 + sent}:${1 + sent}(0)`);
    expect(rig.ended).toEqual(['client-reset']);
    expect(rig.flows).toBe(0);
    expect(rig.orphans.count).toBe(1);
    upstream.read();
    await rig.until(() => upstream.ends.length > 0);
    expect(upstream.bytes).toBe(sent);
    expect(upstream.ends).toEqual(['ECONNRESET']);
    expect([lost(rig), rig.orphans.count, rig.stack.slabs.bytesUsed]).toEqual([0, 0, 0]);
  });

  test('after its FIN leaves an orderly end, even where the upstream has closed', async () => {
    using upstream = await SlowUpstream.open();
    using rig = new DataPlaneRig({ port: upstream.port });
    const sent = await fill(rig, upstream);
    rig.peer.sends(`F. ${1 + sent}:${1 + sent}(0) ack 1 win 512`);
    rig.peer.sends(`R ${2 + sent}:${2 + sent}(0)`);
    expect(rig.ended).toEqual(['client-reset']);
    upstream.read();
    await rig.until(() => upstream.ends.length > 0 && rig.orphans.count === 0);
    expect(upstream.bytes).toBe(sent);
    expect(upstream.ends).toEqual(['end']);
    expect(lost(rig)).toBe(0);
    expect(rig.stack.slabs.bytesUsed).toBe(0);
  });

  test('may connect again from the same port meanwhile', async () => {
    using upstream = await SlowUpstream.open();
    using rig = new DataPlaneRig({ port: upstream.port });
    const sent = await fill(rig, upstream);
    rig.peer.sends(`R ${1 + sent}:${1 + sent}(0)`);
    const again = rig.newPeer({ iss: 90_000_000 });
    rig.dial(again);
    await rig.until(() => rig.frames.length > 0);
    again.expects('S. 0:0(0) ack 1');
    expect([rig.flows, rig.orphans.count]).toEqual([1, 1]);
  });

  test('with nothing left over resets its upstream at once', async () => {
    using upstream = await SlowUpstream.open();
    using rig = new DataPlaneRig({ port: upstream.port });
    await rig.connect();
    await rig.until(() => upstream.hasClient);
    rig.peer.sends('R 1:1(0)');
    expect(rig.orphans.count).toBe(0);
    upstream.read();
    await rig.until(() => upstream.ends.length > 0);
    expect(upstream.ends).toEqual(['ECONNRESET']);
  });
});

describe('what a client has left', () => {
  test('is given up after a minute in which nobody reads it, and counted', async () => {
    using upstream = await SlowUpstream.open();
    using rig = new DataPlaneRig({ port: upstream.port });
    const sockets = descriptorCount('socket:');
    const sent = await fill(rig, upstream);
    rig.peer.sends(`R ${1 + sent}:${1 + sent}(0)`);
    const later = (s: number): Instant => after(monotonicNow(), seconds(s));
    rig.orphans.run(later(59));
    expect(rig.orphans.count).toBe(1);
    rig.orphans.run(later(61));
    expect(rig.orphans.count).toBe(0);
    expect(lost(rig)).toBeGreaterThanOrEqual(WAITING_BYTES);
    expect(rig.stack.slabs.bytesUsed).toBe(0);
    // The upstream's own, and its listener, are still there.
    expect(descriptorCount('socket:')).toBeLessThanOrEqual(sockets + 1);
  });

  test('is given up when the upstream resets', async () => {
    using upstream = await SlowUpstream.open();
    using rig = new DataPlaneRig({ port: upstream.port });
    const sent = await fill(rig, upstream);
    rig.peer.sends(`R ${1 + sent}:${1 + sent}(0)`);
    upstream.reset();
    await rig.until(() => rig.orphans.count === 0);
    expect(lost(rig)).toBeGreaterThanOrEqual(WAITING_BYTES);
    expect(rig.stack.slabs.bytesUsed).toBe(0);
  });

  test.each([
    ['sent where the limit of its verdict is reached', 0, 1],
    ['not sent where that is passed', 1, 0],
  ])('is %s', async (_, beyond, orphans) => {
    using upstream = await SlowUpstream.open();
    using rig = new DataPlaneRig({ port: upstream.port });
    const sent = await fill(rig, upstream);
    const limitAt = rig.stack.rowAt(0) + FlowField.MAX_BYTES;
    rig.stack.arena.view.setFloat64(limitAt, sent - beyond, true);
    rig.peer.sends(`R ${1 + sent}:${1 + sent}(0)`);
    expect(rig.ended).toEqual(['client-reset']);
    expect(rig.orphans.count).toBe(orphans);
    upstream.read();
    await rig.until(() => upstream.ends.length > 0);
    expect(upstream.ends).toEqual(['ECONNRESET']);
    expect(upstream.bytes === sent).toBe(orphans === 1);
    expect([lost(rig), rig.orphans.count, rig.stack.slabs.bytesUsed]).toEqual([0, 0, 0]);
  });

  test('is no more than a part of the slabs: the rest is thrown away, and counted', async () => {
    using upstream = await SlowUpstream.open();
    using rig = new DataPlaneRig({ port: upstream.port, slabBytes: 512 * 1024 });
    const sent = await fill(rig, upstream);
    rig.peer.sends(`R ${1 + sent}:${1 + sent}(0)`);
    expect(rig.orphans.count).toBe(0);
    expect(lost(rig)).toBeGreaterThanOrEqual(WAITING_BYTES);
    expect(rig.stack.slabs.bytesUsed).toBe(0);
  });

  test('is cut by a reset when the gateway ends', async () => {
    using upstream = await SlowUpstream.open();
    using rig = new DataPlaneRig({ port: upstream.port });
    const sent = await fill(rig, upstream);
    rig.peer.sends(`R ${1 + sent}:${1 + sent}(0)`);
    expect(rig.orphans.endAll()).toBe(1);
    expect(rig.orphans.count).toBe(0);
    expect(lost(rig)).toBeGreaterThanOrEqual(WAITING_BYTES);
    expect(rig.stack.slabs.bytesUsed).toBe(0);
  });
});
