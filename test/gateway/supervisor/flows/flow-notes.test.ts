/** Notes of script hosts about flows: in lists, in the log and for filters. */
import { afterEach, describe, expect, test } from 'bun:test';
import { parseFilter } from '../../../../src/gateway/flow-filter/parse.ts';
import {
  HOST_MEMORY_BYTES,
  noteRing,
  writeNote,
} from '../../../../src/gateway/messages/flow-notes.ts';
import { FlowControl } from '../../../../src/gateway/supervisor/flows/flow-control.ts';
import { FlowNotes } from '../../../../src/gateway/supervisor/flows/flow-notes.ts';
import type { FlowNote } from '../../../../src/scripts-runtime/flow-note.ts';
import { rememberingLog } from '../support.ts';
import { FlowMemory, flowContext } from './flow-memory.ts';

const TLS: FlowNote = { sniff: { proto: 'tls', sni: 'a.example', alpn: ['h2'] } };

const controls: { close(): void }[] = [];
afterEach(() => {
  for (const control of controls.splice(0)) control.close();
});

/** Flows 100 and 101, and two script hosts that write notes. */
function setUp() {
  const memory = new FlowMemory(8);
  memory.put(0);
  memory.put(1);
  const notes = [0, 1].map(() => new ArrayBuffer(HOST_MEMORY_BYTES));
  const hosts = notes.map(noteRing);
  const { log, lines } = rememberingLog();
  const control = new FlowControl({
    ...{ log, reader: memory.reader, context: flowContext, notes },
    ...{ rings: [], lostReports: () => 0, lostCaptured: () => 0, mtu: () => 1500 },
    limit: () => 9,
    kill: async () => 0,
    inspect: async () => [],
    capture: () => {},
  });
  controls.push(control);
  const note = (flow: number, what: FlowNote, host = 0) => writeNote(hosts[host]!, flow, what);
  const found = (filter: string) =>
    control.list({ filter: parseFilter(filter), from: 0, limit: 9 }).items.map(({ id }) => id);
  return { memory, control, note, found, lines };
}

describe('a flow that lives', () => {
  test('is shown with what was noted of it, by whichever host', () => {
    const { control, note } = setUp();
    note(100, TLS);
    note(100, { dnsName: 'up.example' }, 1);
    expect(control.find(100)).toMatchObject({ sniff: TLS.sniff, dns_name: 'up.example' });
    expect(control.find(101)).toMatchObject({ sniff: undefined, dns_name: undefined });
  });

  test('is found by it', () => {
    const { note, found } = setUp();
    note(100, TLS);
    note(101, { sniff: { proto: 'http', host: 'B.example' }, dnsName: 'up.example' });
    const [first, second] = ['2s', '2t'];
    expect(found('sniff = tls')).toEqual([first]);
    expect(found('sni = A.example')).toEqual([first]);
    expect(found('host in (a.example, b.example)')).toEqual([first, second]);
    expect(found('host = *.example')).toEqual([first, second]);
    expect(found('host = *.xample')).toEqual([]);
    expect(found('dns_name = up.example')).toEqual([second]);
    expect(found('not sniff = tls')).toEqual([second]);
  });

  test('is found by any of its names', () => {
    const { note, found } = setUp();
    const sniff = { proto: 'tls', sni: 'a.example', host: 'b.example' } as const;
    note(100, { sniff, dnsName: 'up.test' });
    for (const name of ['a.example', 'B.example', 'up.test', '*.example', '*.test']) {
      expect(found(`host = ${name}`)).toEqual(['2s']);
    }
    expect(found('host = c.example')).toEqual([]);
    expect(found('sni = b.example')).toEqual([]);
  });

  test('is not taken for something unknown again, once it was known', () => {
    const { control, note } = setUp();
    note(100, { sniff: { proto: 'unknown' } });
    expect(control.find(100)?.sniff).toEqual({ proto: 'unknown' });
    note(100, TLS);
    note(100, { sniff: { proto: 'unknown' } });
    expect(control.find(100)?.sniff).toEqual(TLS.sniff);
  });

  test('has the name that its client asked for where no script gave one', () => {
    const { control, note, found } = setUp();
    note(100, { seenName: 'a.example' });
    expect(control.find(100)).toMatchObject({ dns_name: 'a.example', seen_name: 'a.example' });
    note(100, { dnsName: '' });
    expect(control.find(100)?.dns_name).toBe('a.example');
    note(100, { dnsName: 'up.example' });
    expect(control.find(100)).toMatchObject({ dns_name: 'up.example', seen_name: 'a.example' });
    expect(found('dns_name = up.example')).toEqual(['2s']);
    expect(found('dns_name = a.example')).toEqual([]);
    for (const field of ['seen_name', 'host']) {
      expect(found(`${field} = a.example`)).toEqual(['2s']);
    }
    expect(control.noteOf(100)?.seenName).toBe('a.example');
  });

  test('loses a name that no longer holds', () => {
    const { control, note } = setUp();
    note(100, { dnsName: 'up.example' });
    note(100, { dnsName: '' });
    expect(control.find(100)?.dns_name).toBeUndefined();
  });
});

test('the line of a flow that ends has what was noted a moment before', () => {
  const { memory, control, note, lines } = setUp();
  note(100, { ...TLS, dnsName: 'up.example' });
  control.takeEnded(memory.rowBytes(0).slice(), true);
  expect(lines[0]).toMatchObject({ event: 'flow', sniff: TLS.sniff, dns_name: 'up.example' });
});

test('notes of flows that ended take no place of those that live, with no line for them', () => {
  const { memory, control, note } = setUp();
  note(101, TLS);
  // Twice as many as the table has rows are the most that live.
  for (let serial = 200; serial < 230; serial++) {
    memory.put(0, { serial });
    note(serial, TLS);
    control.takeEnded(memory.rowBytes(0).slice(), false);
  }
  expect(control.find(101)?.sniff).toEqual(TLS.sniff);
});

describe('memory of notes', () => {
  const ring = (max = 10) => {
    const memory = new ArrayBuffer(HOST_MEMORY_BYTES);
    const notes = new FlowNotes([noteRing(memory)], max);
    controls.push(notes);
    return { host: noteRing(memory), notes };
  };

  test('is bounded by the flows that may live; the oldest give way', () => {
    const { host, notes } = ring();
    for (let flow = 1; flow <= 12; flow++) writeNote(host, flow, TLS);
    notes.read();
    expect([1, 2, 3, 12].map((flow) => notes.of(flow) !== undefined)).toEqual([
      ...[false, false, true, true],
    ]);
  });

  test('a flow that is noted again is not the oldest any more', () => {
    const { host, notes } = ring();
    for (let flow = 1; flow <= 10; flow++) writeNote(host, flow, TLS);
    writeNote(host, 1, { dnsName: 'up.example' });
    writeNote(host, 11, TLS);
    notes.read();
    expect(notes.of(1)).toEqual({ ...TLS, dnsName: 'up.example' });
    expect(notes.of(2)).toBeUndefined();
  });

  test('is bounded in bytes too, whatever flows a host invents', () => {
    const { host, notes } = ring(2 ** 20);
    const name = 'x'.repeat(255);
    const alpn = Array<string>(8).fill(name);
    const count = 6000;
    for (let flow = 1; flow <= count; flow++) {
      writeNote(host, flow, { sniff: { proto: 'tls', sni: name, host: name, alpn } });
      notes.read();
    }
    // 5.5 KB each, by the count of two bytes for a character: 24 MiB are some 4500.
    const kept = () =>
      Array.from({ length: count }, (_, i) => notes.of(i + 1)).filter((note) => note !== undefined);
    expect(kept().length).toBeWithin(4000, 5000);
    expect(notes.of(count)).toBeDefined();
    for (let flow = 1; flow <= count; flow++) notes.ended(flow);
    expect(kept().length).toBeWithin(1300, 1700);
  });

  test('of flows that ended lasts for those who hear of it later, and is bounded too', () => {
    const { host, notes } = ring();
    const count = 9000;
    for (let flow = 1; flow <= count; flow++) {
      writeNote(host, flow, TLS);
      notes.read();
      notes.ended(flow);
    }
    expect(notes.of(count)).toEqual(TLS);
    expect(notes.of(1)).toBeUndefined();
    notes.ended(123_456);
  });
});
