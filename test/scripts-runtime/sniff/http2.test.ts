import { expect, test } from 'bun:test';
import { httpRequest } from '../../../src/scripts-runtime/sniff/fixtures.ts';
import { decodeHeaders } from '../../../src/scripts-runtime/sniff/hpack.ts';
import { decodeHuffman } from '../../../src/scripts-runtime/sniff/huffman.ts';
import { sniff, sniffLast } from '../../../src/scripts-runtime/sniff/sniff.ts';
import { ascii, joined, sniffByteByByte } from '../../support/splits.ts';

const NO_MATCH = { proto: 'unknown', why: 'no-match' } as const;
const PREFACE = ascii('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
const [SETTINGS, HEADERS, CONTINUATION, PING] = [4, 1, 9, 6];
const [END_HEADERS, PADDED, PRIORITY] = [4, 8, 0x20];

const fromHex = (text: string): Uint8Array =>
  new Uint8Array(Buffer.from(text.replaceAll(' ', ''), 'hex'));
const frame = (type: number, flags: number, payload: Uint8Array): Uint8Array =>
  Uint8Array.from([
    0,
    payload.length >> 8,
    payload.length & 0xff,
    type,
    flags,
    0,
    0,
    0,
    1,
    ...payload,
  ]);
const settings = frame(SETTINGS, 0, new Uint8Array());
const connection = (...frames: Uint8Array[]): Uint8Array => joined([PREFACE, settings, ...frames]);

/** RFC 7541 C.3.1 and C.4.1: the same request, without and with the Huffman code. */
const PLAIN_BLOCK = fromHex('828684 41 0f 7777772e6578616d706c652e636f6d');
const HUFFMAN_BLOCK = fromHex('828684 41 8c f1e3c2e5f23a6ba0ab90f4ff');
const EXAMPLE = { proto: 'http', method: 'GET', host: 'www.example.com', path: '/' } as const;

test.each([
  ['C.4.1', 'f1e3c2e5f23a6ba0ab90f4ff', 'www.example.com'],
  ['C.4.2', 'a8eb10649cbf', 'no-cache'],
  ['C.4.3', '25a849e95bb8e8b4bf', 'custom-value'],
  ['C.6.1', 'd07abe941054d444a8200595040b8166e082a62d1bff', 'Mon, 21 Oct 2013 20:13:21 GMT'],
  ['C.6.1', '9d29ad171863c78f0b97c8e9ae82ae43d3', 'https://www.example.com'],
])('the Huffman code of RFC 7541 %s', (_section, hex, text) => {
  const bytes = fromHex(hex);
  expect(decodeHuffman(bytes, 0, bytes.length)).toBe(text);
});

test('a Huffman string ends with the first bits of EOS, fewer than eight', () => {
  for (const hex of ['ff', 'f1e3c2e5f23a6ba0ab90f4ffff', 'f1e3c2e5f23a6ba0ab90f4fe', 'ffffffff']) {
    const bytes = fromHex(hex);
    expect(decodeHuffman(bytes, 0, bytes.length)).toBeUndefined();
  }
  expect(decodeHuffman(new Uint8Array(), 0, 0)).toBe('');
});

test('the first HEADERS frame gives method, host and path', () => {
  for (const block of [PLAIN_BLOCK, HUFFMAN_BLOCK]) {
    expect(sniff(connection(frame(HEADERS, END_HEADERS, block)))).toEqual(EXAMPLE);
  }
});

test('a request that comes byte by byte is known with the end of its headers', () => {
  const headers = { 'User-Agent': 'x'.repeat(300) };
  const bytes = joined(httpRequest('A.example:8080', { version: 2, path: '/x?y', headers }));
  const { sniffed, length } = sniffByteByByte(joined([bytes, ascii('more')]));
  expect(sniffed).toEqual({ proto: 'http', method: 'GET', host: 'a.example', path: '/x?y' });
  expect(length).toBe(bytes.length);
});

test('other frames may come between, and the block may be padded and continued', () => {
  const ping = frame(PING, 0, new Uint8Array(8));
  const padded = Uint8Array.from([2, 0, 0, 0, 0, 9, ...PLAIN_BLOCK.slice(0, 5), 0, 0]);
  const bytes = connection(
    ping,
    frame(HEADERS, PADDED | PRIORITY, padded),
    frame(CONTINUATION, 0, PLAIN_BLOCK.slice(5, 6)),
    frame(CONTINUATION, END_HEADERS, PLAIN_BLOCK.slice(6)),
  );
  const { sniffed, length } = sniffByteByByte(bytes);
  expect(sniffed).toEqual(EXAMPLE);
  expect(length).toBe(bytes.length);
});

test('a client that waits for the server first is HTTP all the same, when time is over', () => {
  const bytes = joined([PREFACE, settings]);
  expect(sniff(bytes)).toBe('need-more');
  const preface = { proto: 'http', method: 'PRI', path: '*' } as const;
  expect(sniffLast(bytes, ['tls', 'http'], 'timeout')).toEqual(preface);
  expect(sniffLast(PREFACE, ['http'], 'no-match')).toEqual(preface);
  const timeout = { proto: 'unknown', why: 'timeout' } as const;
  expect(sniffLast(PREFACE.slice(0, 23), ['http'], 'timeout')).toEqual(timeout);
});

test('an entry of the dynamic table can be named again', () => {
  // authority: a.b, kept; x: 1, kept; cookie: c, kept; then x: 1 by its index, 63.
  const block = fromHex('828684 41 03 612e62 40 01 78 01 31 60 01 63 bf');
  expect(decodeHeaders(block)).toEqual({ method: 'GET', path: '/', authority: 'a.b' });
  expect(decodeHeaders(fromHex('828684 c0'))).toBeUndefined();
});

test('a change of the table size, and fields that are never indexed', () => {
  const block = fromHex('20 3fe11f 82 86 04 02 2f61 11 03 612e62 10 01 78 01 31');
  expect(decodeHeaders(block)).toEqual({ method: 'GET', path: '/a', authority: 'a.b' });
});

test.each([
  ['no method', '86 84 01 03 612e62'],
  ['no path', '82 86 01 03 612e62'],
  ['two methods', '82 83 86 84'],
  ['two paths', '82 86 84 84'],
  ['two Host fields', '82 86 84 0f17 01 61 0f17 01 61'],
  ['an authority and another Host', '82 86 84 01 01 61 0f17 01 62'],
  ['a pseudo-header behind a field', '82 86 84 00 01 78 01 79 01 01 61'],
  ['an index of 0', '82 86 84 80'],
  ['a string that leads past its end', '82 86 84 01 7f 61'],
  ['a number without an end', '82 86 84 7fffffffffff'],
  ['a control character in the path', '82 86 04 02 2f0a'],
  ['an authority with a user', '82 86 84 01 03 614062'],
  ['a response', '88'],
])('%s is refused', (_what, hex) => {
  expect(sniff(connection(frame(HEADERS, END_HEADERS, fromHex(hex))))).toEqual(NO_MATCH);
});

test('an authority and the same Host, and a Host alone', () => {
  for (const hex of ['82 86 84 01 01 61 0f17 01 61', '82 86 84 0f17 01 61']) {
    const bytes = connection(frame(HEADERS, END_HEADERS, fromHex(hex)));
    expect(sniff(bytes)).toMatchObject({ host: 'a' });
  }
});

test('frames that no client begins with are refused', () => {
  const headers = frame(HEADERS, END_HEADERS, PLAIN_BLOCK);
  expect(sniff(joined([PREFACE, headers]))).toEqual(NO_MATCH);
  expect(sniff(connection(frame(5, 0, new Uint8Array(4))))).toEqual(NO_MATCH);
  expect(sniff(connection(Uint8Array.of(0, 0x40, 1, 6, 0, 0, 0, 0, 0)))).toEqual(NO_MATCH);
  expect(sniff(connection(frame(HEADERS, 0, PLAIN_BLOCK), headers))).toEqual(NO_MATCH);
  expect(sniff(connection(frame(HEADERS, END_HEADERS | PADDED, Uint8Array.of(9, 0x82))))).toEqual(
    NO_MATCH,
  );
});

test('CONNECT has a host and no path', () => {
  const block = fromHex('02 07 434f4e4e454354 01 05 613a343433');
  const bytes = connection(frame(HEADERS, END_HEADERS, block));
  expect(sniff(bytes)).toEqual({ proto: 'http', method: 'CONNECT', host: 'a', path: '' });
});
