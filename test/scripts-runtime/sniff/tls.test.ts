import { expect, test } from 'bun:test';
import { httpRequest, tlsClientHello } from '../../../src/scripts-runtime/sniff/fixtures.ts';
import { sniff } from '../../../src/scripts-runtime/sniff/sniff.ts';
import { ascii, joined, sniffByteByByte } from '../../support/splits.ts';

const NO_MATCH = { proto: 'unknown', why: 'no-match' } as const;
/** Record header, handshake header, version and random, session ID. */
const SUITES_AT = 5 + 4 + 34 + 33;

const hello = (...options: Parameters<typeof tlsClientHello>): Uint8Array =>
  joined(tlsClientHello(...options));

/** A copy with the extension `type` moved behind its list: as it is when `change` gives it back. */
function withExtension(
  bytes: Uint8Array,
  type: number,
  change: (data: Buffer) => Buffer,
): Uint8Array {
  const all = Buffer.from(bytes);
  let at = SUITES_AT + 2 + all.readUInt16BE(SUITES_AT) + 2;
  const extensionsAt = at;
  at += 2;
  while (all.readUInt16BE(at) !== type) at += 4 + all.readUInt16BE(at + 2);
  const end = at + 4 + all.readUInt16BE(at + 2);
  const data = change(all.subarray(at, end));
  const grown = Buffer.concat([all.subarray(0, at), data, all.subarray(end)]);
  const by = data.length - (end - at);
  grown.writeUInt16BE(all.readUInt16BE(3) + by, 3);
  grown.writeUInt16BE(all.readUInt16BE(7) + by, 7);
  grown.writeUInt16BE(all.readUInt16BE(extensionsAt) + by, extensionsAt);
  return new Uint8Array(grown);
}

test('a hello gives its name and protocols', () => {
  expect(sniff(hello('A.Corp.Example.'))).toEqual({
    proto: 'tls',
    sni: 'a.corp.example',
    alpn: ['h2', 'http/1.1'],
    ech: false,
  });
});

test('a hello without name and protocols is TLS all the same', () => {
  const sniffed = sniff(hello(undefined, { alpn: [] }));
  expect(sniffed).toEqual({ proto: 'tls', alpn: [], ech: false });
});

test('a post-quantum hello is longer than a segment, and read from two', () => {
  const segments = tlsClientHello('pq.example', { postQuantum: true, segments: 2 });
  expect(joined(segments).length).toBeGreaterThan(1500);
  expect(sniff(segments[0]!)).toBe('need-more');
  expect(sniff(joined(segments))).toMatchObject({ proto: 'tls', sni: 'pq.example' });
});

test('an encrypted hello is told, and its name is the public one', () => {
  const sniffed = sniff(hello('public.example', { ech: true }));
  expect(sniffed).toMatchObject({ proto: 'tls', sni: 'public.example', ech: true });
});

test('a hello that comes byte by byte is known with its last one, in any number of records', () => {
  for (const options of [{}, { postQuantum: true }, { records: 2 }, { records: 7 }]) {
    const bytes = hello('split.example', options);
    const { sniffed, length } = sniffByteByByte(bytes);
    expect(sniffed).toMatchObject({ proto: 'tls', sni: 'split.example' });
    expect(length).toBe(bytes.length);
  }
});

test('a hello in records of one byte each is put together', () => {
  const bytes = hello('tiny.example', { records: 4000 });
  expect(bytes[4]).toBe(1);
  expect(sniff(bytes)).toMatchObject({ proto: 'tls', sni: 'tiny.example' });
});

test('what follows a hello does not matter: early data, or another record', () => {
  for (const records of [1, 3]) {
    const bytes = hello('early.example', { records });
    const more = joined([bytes, Uint8Array.of(23, 3, 3, 0, 2, 1, 2)]);
    expect(sniff(more)).toMatchObject({ proto: 'tls', sni: 'early.example' });
  }
});

test('a record of another kind in the middle of a hello is no TLS', () => {
  const bytes = hello('a.example', { records: 2 });
  const second = 5 + ((bytes[3]! << 8) | bytes[4]!);
  expect(sniff(joined([bytes.slice(0, second), Uint8Array.of(21, 3, 3, 0, 2, 1, 0)]))).toBe(
    'need-more',
  );
  bytes[second] = 21;
  expect(sniff(bytes)).toEqual(NO_MATCH);
});

test('records without a byte, or longer than 2^14, are no TLS', () => {
  expect(sniff(Uint8Array.of(22, 3, 1, 0, 0), ['tls'])).toEqual(NO_MATCH);
  expect(sniff(Uint8Array.of(22, 3, 1, 0x40, 1), ['tls'])).toEqual(NO_MATCH);
  expect(sniff(Uint8Array.of(22, 3, 1, 0x40, 0), ['tls'])).toBe('need-more');
});

test('other first bytes are no TLS, as early as they can be told', () => {
  for (const bytes of [[21], [0x80, 46], [22, 2], [22, 3, 5], [22, 3, 3, 0, 90, 2]]) {
    expect(sniff(Uint8Array.from(bytes), ['tls'])).toEqual(NO_MATCH);
  }
  expect(sniff(joined(httpRequest('a.example')), ['tls'])).toEqual(NO_MATCH);
});

test('a hello that says it is longer than what may be peeked at is told at once', () => {
  const start = Uint8Array.of(22, 3, 1, 0x40, 0, 1, 0, 0x40, 0);
  expect(sniff(start, ['tls'])).toEqual({ proto: 'unknown', why: 'limit' });
});

test('two names, two lists of names, and an empty one are refused', () => {
  const good = hello('a.example');
  const doubled = withExtension(good, 0, (names) => Buffer.concat([names, names]));
  expect(sniff(doubled)).toEqual(NO_MATCH);
  expect(sniff(withExtension(good, 16, (list) => Buffer.concat([list, list])))).toEqual(NO_MATCH);
  expect(sniff(withExtension(good, 0, () => Buffer.from([0, 0, 0, 0])))).toEqual(NO_MATCH);
  const entry = [0, 0, 1, 97];
  const two = Buffer.from([0, 0, 0, 10, 0, 8, ...entry, ...entry]);
  expect(sniff(withExtension(good, 0, () => two))).toEqual(NO_MATCH);
  expect(sniff(withExtension(good, 0, (names) => names))).toMatchObject({ sni: 'a.example' });
});

test('names that no host has are refused', () => {
  const names = ['a.example\0.evil', 'a b', 'ä.example', '', '.', '::1', `${'a'.repeat(254)}`];
  for (const name of names) expect(sniff(hello(name))).toEqual(NO_MATCH);
  expect(sniff(hello('under_score.192.0.2.1'))).toMatchObject({ sni: 'under_score.192.0.2.1' });
});

test('reserved protocol names are left out', () => {
  const list = Buffer.from([0, 16, 0, 8, 0, 6, 2, 0x1a, 0x1a, 2, ...ascii('h2')]);
  expect(sniff(withExtension(hello('a.example'), 16, () => list))).toMatchObject({ alpn: ['h2'] });
});

test('lengths that lead past their end are refused', () => {
  const good = hello('a.example');
  const extensionsAt = SUITES_AT + 2 + 8 + 2;
  for (const at of [SUITES_AT - 33, SUITES_AT + 1, extensionsAt, extensionsAt + 1]) {
    const bytes = good.slice();
    bytes[at]! ^= 0x41;
    expect(sniff(bytes)).toEqual(NO_MATCH);
  }
});

test('a hello of TLS 1.2 may end without extensions', () => {
  const body = [3, 3, ...Array<number>(32).fill(7), 0, 0, 2, 0, 47, 1, 0];
  const bytes = Uint8Array.from([22, 3, 1, 0, body.length + 4, 1, 0, 0, body.length, ...body]);
  expect(sniff(bytes)).toEqual({ proto: 'tls', alpn: [], ech: false });
});
