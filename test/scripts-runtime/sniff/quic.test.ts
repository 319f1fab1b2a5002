import { expect, test } from 'bun:test';
import { DatagramSniffer } from '../../../src/scripts-runtime/sniff/datagrams.ts';
import { clientHello } from '../../../src/scripts-runtime/sniff/fixtures/client-hello.ts';
import { sealedInitial } from '../../../src/scripts-runtime/sniff/fixtures/quic.ts';
import {
  dnsQuery,
  quicInitial,
  tlsClientHello,
} from '../../../src/scripts-runtime/sniff/fixtures.ts';
import { clientInitialKeys, QUIC_VERSIONS } from '../../../src/scripts-runtime/sniff/quic-keys.ts';
import { InitialOpener, readLongHeader } from '../../../src/scripts-runtime/sniff/quic-packet.ts';
import type { Sniffed, SniffProtocol } from '../../../src/scripts-runtime/sniff/sniffed.ts';
import {
  VECTOR_CONNECTION_ID,
  VECTOR_CRYPTO_FRAME,
  VECTOR_KEYS,
  VECTOR_V1,
  VECTOR_V2,
} from '../../support/quic-vectors.ts';
import { joined } from '../../support/splits.ts';

const NO_MATCH = { proto: 'unknown', why: 'no-match' } as const;
const TOO_LONG = { proto: 'unknown', why: 'limit' } as const;
const VERSION_2 = 0x6b3343cf;

/** The answer after each datagram. */
function answers(
  datagrams: readonly Uint8Array[],
  protocols?: readonly SniffProtocol[],
): (Sniffed | 'need-more')[] {
  const sniffer = new DatagramSniffer(protocols);
  return datagrams.map((datagram) => sniffer.push(datagram));
}

/** One Initial packet with these frames, padded. */
const initialOf = (...frames: number[]): Uint8Array => sealedInitial(1, 0, frames);
const crypto = (offset: number, bytes: readonly number[]): number[] => [
  ...[6, 0x40 | (offset >>> 8), offset & 0xff, 0x40 | (bytes.length >>> 8), bytes.length & 0xff],
  ...bytes,
];

test.each([0, 1])('the keys of RFC 9001 A.1 and RFC 9369 A.1 (%d)', (i) => {
  const keys = clientInitialKeys(QUIC_VERSIONS[i]!, VECTOR_CONNECTION_ID);
  const asHex = Object.entries(keys).map(([name, bytes]) => [
    name,
    Buffer.from(bytes).toString('hex'),
  ]);
  expect(Object.fromEntries(asHex)).toEqual(VECTOR_KEYS[i]);
});

test.each([
  ['RFC 9001 A.2', VECTOR_V1, 1],
  ['RFC 9369 A.2', VECTOR_V2, VERSION_2],
])('the client Initial of %s opens, and gives its name', (_source, datagram, version) => {
  const packet = readLongHeader(datagram, 0)!;
  const frames = new InitialOpener(datagram, packet).open(datagram, packet)!;
  expect(Buffer.from(frames.subarray(0, VECTOR_CRYPTO_FRAME.length))).toEqual(
    Buffer.from(VECTOR_CRYPTO_FRAME),
  );
  expect(answers([datagram])).toEqual([
    { proto: 'quic', sni: 'example.com', alpn: ['alpn'], ech: false, version },
  ]);
});

test('a post-quantum hello in two datagrams is known with the second', () => {
  for (const version of [1, 2] as const) {
    const datagrams = quicInitial('pq.example', { postQuantum: true, version });
    expect(datagrams.length).toBe(2);
    expect(answers(datagrams)).toEqual([
      'need-more',
      expect.objectContaining({ proto: 'quic', sni: 'pq.example', alpn: ['h3'] }),
    ]);
  }
});

test('datagrams and frames may come in any order, and twice', () => {
  const options = { postQuantum: true, datagrams: 3, frames: 9, ech: true };
  const [a, b, c] = quicInitial('mixed.example', options) as [Uint8Array, Uint8Array, Uint8Array];
  const found = expect.objectContaining({ sni: 'mixed.example', ech: true });
  for (const order of [
    [a, b, c],
    [c, b, a],
    [b, c, a],
    [b, b, a, b, a, c],
  ]) {
    const given = answers(order);
    expect(given.at(-1)).toEqual(found);
    expect(given.slice(0, -1)).toEqual(Array(order.length - 1).fill('need-more'));
  }
});

test('once there is an answer, it stays', () => {
  const [datagram] = quicInitial('a.example') as [Uint8Array];
  const [first, second] = answers([datagram, Uint8Array.of(1, 2, 3)]);
  expect(second).toEqual(first!);
});

test('packets that share a datagram are all looked at', () => {
  const [first, second] = quicInitial('a.example', { datagrams: 2 }) as [Uint8Array, Uint8Array];
  expect(answers([joined([first, second])])[0]).toMatchObject({ sni: 'a.example' });
  const trailing = joined([first, Uint8Array.of(0x40, 1, 2, 3)]);
  expect(answers([trailing, second])[1]).toMatchObject({ sni: 'a.example' });
});

test('a packet that does not decrypt is passed over, unless it is the first', () => {
  const [first, second] = quicInitial('a.example', { datagrams: 2 }) as [Uint8Array, Uint8Array];
  const broken = second.slice();
  broken[1100]! ^= 1;
  expect(answers([first, broken, second]).slice(1)).toEqual([
    'need-more',
    expect.objectContaining({ sni: 'a.example' }),
  ]);
  expect(answers([broken])).toEqual([NO_MATCH]);
});

test('frames that contradict each other are refused', () => {
  const hello = Array.from(clientHello('a.example', { alpn: ['h3'] }, 0));
  const half = hello.slice(0, 100);
  const other = half.with(50, half[50]! ^ 1);
  expect(answers([initialOf(...crypto(0, half), ...crypto(0, other))])).toEqual([NO_MATCH]);
  expect(answers([initialOf(...crypto(0, half), ...crypto(0, hello))])).toMatchObject([
    { sni: 'a.example' },
  ]);
});

test('frames that a client does not send first are refused, and ACKs are passed over', () => {
  const hello = crypto(0, Array.from(clientHello('a.example', {}, 0)));
  const ack = [2, 5, 0, 1, 1, 0, 0];
  const ackWithEcn = [3, 5, 0, 0, 1, 1, 2, 3];
  expect(answers([initialOf(1, ...ack, ...ackWithEcn, ...hello)])).toMatchObject([
    { sni: 'a.example' },
  ]);
  for (const type of [0x04, 0x08, 0x1c, 0x1d]) {
    expect(answers([initialOf(type, ...hello)])).toEqual([NO_MATCH]);
  }
  // An ACK that says it has 2^30 ranges.
  expect(answers([initialOf(2, 5, 0, 0xbf, 0xff, 0xff, 0xff, ...hello)])).toEqual([NO_MATCH]);
});

test('what lies beyond the peeked bytes is refused, and so is another message', () => {
  expect(answers([initialOf(6, 0x7f, 0xff, 2, 1, 1)])).toEqual([NO_MATCH]);
  expect(answers([initialOf(...crypto(0, [1, 1, 0, 0]))])).toEqual([TOO_LONG]);
  expect(answers([initialOf(...crypto(0, [2, 0, 0, 4]))])).toEqual([NO_MATCH]);
});

test('a client that never finishes its hello is left alone after 16 KiB', () => {
  const [first] = quicInitial('a.example', { datagrams: 2 }) as [Uint8Array];
  const given = answers(Array(20).fill(first));
  expect(given[12]).toBe('need-more');
  expect(given[13]).toEqual(TOO_LONG);
});

test('other datagrams are no QUIC', () => {
  const [datagram] = quicInitial('a.example') as [Uint8Array];
  const changed = (at: number, value: number): Uint8Array => datagram.with(at, value);
  for (const bytes of [
    new Uint8Array(),
    Uint8Array.of(0xc3),
    changed(0, 0x43),
    changed(0, datagram[0]! & ~0x40),
    // Handshake, which no client begins with.
    changed(0, datagram[0]! | 0x20),
    // An unknown version; connection IDs of 4 and of 21 bytes.
    changed(4, 9),
    changed(5, 4),
    changed(5, 21),
    datagram.slice(0, 1199),
    ...tlsClientHello('a.example'),
  ]) {
    expect(answers([bytes])).toEqual([NO_MATCH]);
  }
});

test('questions of DNS are told in the first datagram only, and only to who asks for them', () => {
  const [question] = dnsQuery('a.example', 65) as [Uint8Array];
  expect(answers([question])).toEqual([{ proto: 'dns', qname: 'a.example', qtype: 'HTTPS' }]);
  expect(answers([question], ['quic'])).toEqual([NO_MATCH]);
  const [first] = quicInitial('a.example', { datagrams: 2 }) as [Uint8Array];
  expect(answers([first, question])).toEqual(['need-more', 'need-more']);
  expect(answers([first], ['dns', 'tls'])).toEqual([NO_MATCH]);
});
