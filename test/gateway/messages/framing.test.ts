import { expect, test } from 'bun:test';
import fc from 'fast-check';
import {
  encodeFrame,
  encodeJsonFrame,
  FRAME_HEADER_BYTES,
  FRAME_MAX_BYTES,
  FrameKind,
  FrameReader,
  FrameTooLargeError,
} from '../../../src/gateway/messages/framing.ts';
import { kvChunks } from '../../../src/gateway/messages/kv-chunks.ts';
import { metricChunks } from '../../../src/gateway/messages/metric-chunks.ts';
import type { KvEntry, MetricDelta } from '../../../src/gateway/messages/script-control.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

const join = (parts: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));

/** Frames that a reader finds in a stream that comes in pieces, as kind and body. */
function readAll(pieces: Iterable<Uint8Array>): [number, string][] {
  const reader = new FrameReader();
  const frames: [number, string][] = [];
  for (const piece of pieces) {
    reader.push(piece, (kind, body) => frames.push([kind, Buffer.from(body).toString('hex')]));
  }
  return frames;
}

function* cut(bytes: Uint8Array, length: number): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length);
}

test('frames are the same, wherever the stream is cut', () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 8 }),
      fc.array(fc.integer({ min: 0, max: 400 }), { minLength: 1, maxLength: 20 }),
      (bodies, lengths) => {
        const stream = join(bodies.map((body, i) => encodeFrame(i % 2 === 0 ? 0 : 1, body)));
        const pieces: Uint8Array[] = [];
        for (let at = 0, i = 0; at < stream.length; i++) {
          const length = (lengths[i % lengths.length] ?? 0) + (i % lengths.length === 0 ? 1 : 0);
          pieces.push(stream.subarray(at, at + length));
          at += length;
        }
        const expected = bodies.map((body, i) => [i % 2, Buffer.from(body).toString('hex')]);
        expect(readAll(pieces)).toEqual(expected as [number, string][]);
      },
    ),
  );
});

test('a large frame in many small pieces is read in a time that grows with its length', () => {
  const stream = encodeFrame(FrameKind.JSON, new Uint8Array(8 * MIB));
  const startedAt = performance.now();
  const frames = readAll(cut(stream, 128));
  // Copying all that came before at each of the 65,536 pieces would move 256 GiB.
  expect(performance.now() - startedAt).toBeLessThan(4_000);
  expect(frames).toHaveLength(1);
  expect(frames[0]?.[1]).toHaveLength(16 * MIB);
});

test('a reader tells whether it waits for the rest of a frame', () => {
  const reader = new FrameReader();
  const frame = encodeJsonFrame('x'.repeat(200 * KIB));
  const kinds: number[] = [];
  const push = (bytes: Uint8Array) => reader.push(bytes, (kind) => kinds.push(kind));
  expect(reader.isInsideFrame).toBe(false);
  push(frame.subarray(0, 3));
  expect(reader.isInsideFrame).toBe(true);
  push(frame.subarray(3));
  expect(reader.isInsideFrame).toBe(false);
  push(join([frame, frame.subarray(0, 100 * KIB)]));
  expect(reader.isInsideFrame).toBe(true);
  push(join([frame.subarray(100 * KIB), frame]));
  expect([kinds.length, reader.isInsideFrame]).toEqual([4, false]);
});

test('the largest frame passes, and one byte more is refused where it is made', () => {
  const largest = encodeFrame(FrameKind.JSON, new Uint8Array(FRAME_MAX_BYTES - 1));
  expect(largest).toHaveLength(FRAME_HEADER_BYTES + FRAME_MAX_BYTES - 1);
  expect(readAll(cut(largest, 64 * KIB))).toHaveLength(1);
  const tooLarge = () => encodeFrame(FrameKind.JSON, new Uint8Array(FRAME_MAX_BYTES));
  expect(tooLarge).toThrow(FrameTooLargeError);
  expect(() => encodeJsonFrame({ text: '\u0001'.repeat(3 * MIB) })).toThrow(FrameTooLargeError);
});

test.each([0, FRAME_MAX_BYTES + 1, 2 ** 32 - 1])('a length of %d is no frame', (length) => {
  const header = new Uint8Array(FRAME_HEADER_BYTES);
  new DataView(header.buffer).setUint32(0, length, true);
  expect(() => readAll([header])).toThrow('impossible frame');
});

test('KV stores full of what JSON makes longest fit into frames, in their order', () => {
  const value = '\u0001'.repeat(64 * KIB);
  const entries = Array.from(
    { length: 45 },
    (_, i): KvEntry => ({ script: 'a', key: `${i}`, value }),
  );
  expect(() => encodeJsonFrame(entries)).toThrow(FrameTooLargeError);
  const chunks = [...kvChunks(entries)];
  for (const chunk of chunks) expect(encodeJsonFrame(chunk).length).toBeLessThan(2 * MIB);
  expect(chunks.flat()).toEqual(entries);
  expect([...kvChunks([])]).toEqual([]);
});

test('the series of a script at its default limits fit into frames, whatever their names', () => {
  const label = 'l'.repeat(60);
  const value = '\u0001'.repeat(128);
  const deltas = Array.from({ length: 50 * 101 }, (_, i): MetricDelta => {
    const labels = Object.fromEntries(Array.from({ length: 8 }, (_, j) => [`${label}${j}`, value]));
    return { script: 'a', name: `m${i}`, kind: 'counter', labels, value: 1 };
  });
  expect(() => encodeJsonFrame(deltas)).toThrow(FrameTooLargeError);
  const chunks = [...metricChunks(deltas)];
  for (const chunk of chunks) expect(encodeJsonFrame(chunk).length).toBeLessThan(2 * MIB);
  expect(chunks.flat()).toEqual(deltas);
});

test('many small entries are few messages', () => {
  const entries = Array.from({ length: 1000 }, (_, i): KvEntry => ({ script: 'a', key: `${i}` }));
  expect([...kvChunks(entries)]).toHaveLength(1);
});
