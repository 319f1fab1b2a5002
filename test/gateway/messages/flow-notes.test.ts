import { describe, expect, test } from 'bun:test';
import {
  HOST_MEMORY_BYTES,
  noteRing,
  readNotes,
  writeNote,
} from '../../../src/gateway/messages/flow-notes.ts';
import { HEARTBEAT_BYTES } from '../../../src/gateway/messages/script-control.ts';
import { parseNote } from '../../../src/gateway/supervisor/flows/parse-note.ts';
import type { FlowNote } from '../../../src/scripts-runtime/flow-note.ts';
import { randomNumbers } from '../../support/lossy-link.ts';

const NOTE: FlowNote = {
  sniff: { proto: 'tls', sni: 'ä.example', alpn: ['h2', '"'] },
  dnsName: 'b.example',
};

function rings() {
  const memory = new ArrayBuffer(HOST_MEMORY_BYTES);
  const read: [number, FlowNote][] = [];
  const reader = noteRing(memory);
  return {
    memory,
    writer: noteRing(memory),
    read: () => {
      readNotes(reader, (flow, text) => {
        const note = parseNote(text);
        if (note !== undefined) read.push([flow, note]);
      });
      return read;
    },
  };
}

test('a note arrives as it was written, and once', () => {
  const { writer, read } = rings();
  expect(writeNote(writer, 2 ** 40, NOTE)).toBe(true);
  writeNote(writer, 3, { dnsName: '' });
  expect(read()).toEqual([
    [2 ** 40, NOTE],
    [3, { dnsName: '' }],
  ]);
  expect(read()).toHaveLength(2);
});

test('a ring that nobody reads takes no more, and goes on when it was read', () => {
  const { writer, read } = rings();
  let written = 0;
  while (writeNote(writer, written + 1, NOTE)) written++;
  expect(written).toBeGreaterThan(5000);
  expect(writer.lost).toBe(1);
  expect(read()).toHaveLength(written);
  expect(writeNote(writer, 1, NOTE)).toBe(true);
  expect(read()).toHaveLength(written + 1);
});

test('the heartbeat in front of it stays as it is', () => {
  const { memory, writer } = rings();
  while (writeNote(writer, 1, NOTE));
  expect(new Uint8Array(memory, 0, HEARTBEAT_BYTES).every((byte) => byte === 0)).toBe(true);
});

test('whatever a host writes there, it is read to its end and nothing is believed', () => {
  for (let seed = 1; seed < 300; seed++) {
    const random = randomNumbers(seed);
    const { memory, writer, read } = rings();
    const bytes = new Uint8Array(memory, HEARTBEAT_BYTES);
    for (let i = 0; i < 20; i++) writeNote(writer, i + 1, NOTE);
    for (let i = 0; i < 400; i++) bytes[random(4000)] = random(256);
    for (const [flow, note] of read()) {
      expect(Number.isSafeInteger(flow)).toBe(true);
      expect(note.dnsName?.length ?? 0).toBeLessThan(256);
    }
    // And then it goes on.
    writeNote(noteRing(memory), 9, NOTE);
    expect(read().at(-1)).toEqual([9, NOTE]);
  }
});

describe('a host that writes over positions', () => {
  const positions = (memory: ArrayBuffer) => new Int32Array(memory, HEARTBEAT_BYTES, 2);
  const RECORD_AT = HEARTBEAT_BYTES + 64;
  const SIZE = 2 ** 20;

  test('does not move that of the reader: a record would lie across the end of the memory', () => {
    const { memory, writer, read } = rings();
    writeNote(writer, 1, NOTE);
    positions(memory)[1] = SIZE - 1;
    expect(read()).toEqual([[1, NOTE]]);
  });

  test('cannot say that there is more than the ring holds', () => {
    const { memory, writer, read } = rings();
    const view = new DataView(memory);
    for (let at = 0; at < SIZE; at += 8) view.setUint32(RECORD_AT + at, 8, true);
    const startedAt = performance.now();
    positions(memory)[0] = -8;
    expect(read()).toEqual([]);
    // Half a billion records would be looked at otherwise.
    expect(performance.now() - startedAt).toBeLessThan(1000);
    expect(writeNote(writer, 1, NOTE)).toBe(true);
  });

  test('has a bounded number of small ones read at a time, and the others later', () => {
    const { memory } = rings();
    const view = new DataView(memory);
    for (let at = 0; at < SIZE; at += 8) {
      view.setUint32(RECORD_AT + at, 8, true);
      view.setUint8(RECORD_AT + at + 4, 1);
    }
    const reader = noteRing(memory);
    positions(memory)[0] = SIZE;
    const counts = Array.from({ length: 9 }, () => {
      let count = 0;
      reader.read(() => count++);
      return count;
    });
    expect(counts).toEqual([...Array<number>(8).fill(SIZE / 64), 0]);
  });

  test('leaves nothing that the next host stumbles over', () => {
    for (const [head, tail] of [
      [3, 0],
      [0, 5],
      [-1, 2 ** 30],
      [-5, -9],
    ] as const) {
      const { memory, read } = rings();
      positions(memory)[0] = head;
      positions(memory)[1] = tail;
      read();
      const next = noteRing(memory);
      for (let flow = 1; flow <= 3; flow++) expect(writeNote(next, flow, NOTE)).toBe(true);
      expect(read().map(([flow]) => flow)).toEqual([1, 2, 3]);
    }
  });
});

test('what is longer than names are, or no JSON, is passed over', () => {
  const { writer, read } = rings();
  writeNote(writer, 1, { dnsName: 'x'.repeat(300) });
  writeNote(writer, 1, { sniff: { proto: 'smtp' as 'tls' } });
  for (const flow of [1.5, 0, -1]) writeNote(writer, flow, NOTE);
  writeNote(writer, 9, NOTE);
  expect(read().map(([flow]) => flow)).toEqual([9]);
});
