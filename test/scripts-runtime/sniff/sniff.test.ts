import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { DatagramSniffer } from '../../../src/scripts-runtime/sniff/datagrams.ts';
import { sealedInitial } from '../../../src/scripts-runtime/sniff/fixtures/quic.ts';
import {
  dnsQuery,
  httpRequest,
  quicInitial,
  sshBanner,
  tlsClientHello,
} from '../../../src/scripts-runtime/sniff/fixtures.ts';
import { STREAM_PROTOCOLS, sniff, sniffLast } from '../../../src/scripts-runtime/sniff/sniff.ts';
import type { SniffProtocol } from '../../../src/scripts-runtime/sniff/sniffed.ts';
import { ascii, joined, sniffByteByByte } from '../../support/splits.ts';

const RUNS = 3000;
const NO_MATCH = { proto: 'unknown', why: 'no-match' } as const;

const STREAMS: readonly { readonly proto: SniffProtocol; readonly bytes: Uint8Array }[] = [
  { proto: 'tls', bytes: joined(tlsClientHello('a.example', { postQuantum: true, ech: true })) },
  { proto: 'tls', bytes: joined(tlsClientHello('a.example', { records: 5 })) },
  { proto: 'http', bytes: joined(httpRequest('a.example', { headers: { Accept: '*/*' } })) },
  { proto: 'http', bytes: joined(httpRequest('a.example', { version: 2 })) },
  { proto: 'ssh', bytes: joined(sshBanner()) },
  { proto: 'dns', bytes: joined(dnsQuery('a.example', 1, { over: 'tcp' })) },
];
const DATAGRAMS = [
  ...quicInitial('a.example', { postQuantum: true, frames: 5 }),
  ...quicInitial('a.example', { version: 2 }),
  ...dnsQuery('a.example'),
];

/** Bytes of a client with some changed, some left out, and perhaps cut short. */
const mutated = (originals: readonly Uint8Array[]): fc.Arbitrary<Uint8Array> =>
  fc
    .record({
      original: fc.constantFrom(...originals),
      changes: fc.array(fc.tuple(fc.nat(2000), fc.nat(0xff)), { maxLength: 6 }),
      hole: fc.option(fc.tuple(fc.nat(2000), fc.nat(64)), { nil: undefined }),
      keep: fc.double({ min: 0, max: 2, noNaN: true }),
    })
    .map(({ original, changes, hole, keep }) => {
      const bytes = original.slice(0, Math.ceil(original.length * Math.min(keep, 1)));
      for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
      if (hole === undefined) return bytes;
      const [at, length] = hole;
      return joined([bytes.subarray(0, at), bytes.subarray(at + length)]);
    });

test('nothing has been said yet', () => {
  expect(sniff(new Uint8Array())).toBe('need-more');
  expect(sniff(new Uint8Array(), [])).toEqual(NO_MATCH);
});

test('each protocol is known among all, and alone, and by no other', () => {
  for (const { proto, bytes } of STREAMS) {
    expect(sniff(bytes)).toMatchObject({ proto });
    expect(sniff(bytes, [proto])).toMatchObject({ proto });
    const others = STREAM_PROTOCOLS.filter((other) => other !== proto);
    expect(sniff(bytes, others)).toEqual(NO_MATCH);
  }
});

test('what is not spoken over TCP never matches, and is not waited for', () => {
  expect(sniff(joined(quicInitial('a.example')), ['quic'])).toEqual(NO_MATCH);
  expect(sniff(Uint8Array.of(0xc0), ['quic', 'tls'])).toEqual(NO_MATCH);
});

test('an answer that came too late or too early has its reason', () => {
  const half = ascii('GET / HTTP/1.1\r\nHost: a');
  expect(sniffLast(half, ['http'], 'timeout')).toEqual({ proto: 'unknown', why: 'timeout' });
  expect(sniffLast(half, ['tls'], 'timeout')).toEqual(NO_MATCH);
  expect(sniffLast(ascii('SSH-2.0-x\r\n'), ['ssh'], 'timeout')).toMatchObject({ proto: 'ssh' });
});

test('an answer does not change when more bytes come', () => {
  const property = fc.property(
    mutated(STREAMS.map(({ bytes }) => bytes)),
    fc.uint8Array({ maxLength: 40 }),
    (bytes, more) => {
      const { sniffed, length } = sniffByteByByte(bytes);
      if (sniffed === 'need-more') return;
      expect(sniff(joined([bytes.subarray(0, length), more]))).toEqual(sniffed);
    },
  );
  fc.assert(property, { numRuns: 300 });
});

test('changed bytes of a connection are answered, and read no farther than they go', () => {
  const property = fc.property(mutated(STREAMS.map(({ bytes }) => bytes)), (bytes) => {
    // Behind the end lies what would change the answer, were it read.
    const buffer = new Uint8Array(bytes.length + 64).fill(0x41);
    buffer.set(bytes);
    const sniffed = sniff(buffer.subarray(0, bytes.length));
    expect(sniffed).toEqual(sniff(bytes.slice()));
    if (sniffed !== 'need-more') expect(sniffed.proto).toBeString();
  });
  fc.assert(property, { numRuns: RUNS });
});

test('changed datagrams are answered', () => {
  const property = fc.property(fc.array(mutated(DATAGRAMS), { maxLength: 4 }), (datagrams) => {
    const sniffer = new DatagramSniffer();
    for (const datagram of datagrams) {
      const sniffed = sniffer.push(datagram);
      if (sniffed !== 'need-more') expect(sniffed.proto).toBeString();
    }
  });
  fc.assert(property, { numRuns: RUNS });
});

test('any frames in a packet that decrypts are answered', () => {
  const frames = fc.array(
    fc.oneof(
      fc.constantFrom([0], [1], [2, 1, 0, 0, 0], [6, 0, 4, 1, 0, 0, 9], [6, 2, 2, 0, 9]),
      fc.array(fc.nat(0xff), { maxLength: 20 }),
    ),
    { maxLength: 8 },
  );
  const property = fc.property(fc.array(frames, { maxLength: 3 }), (packets) => {
    const sniffer = new DatagramSniffer(['quic']);
    for (const [i, packet] of packets.entries()) {
      const sniffed = sniffer.push(sealedInitial(1, i, packet.flat()));
      if (sniffed !== 'need-more') expect(sniffed.proto).toBeOneOf(['quic', 'unknown']);
    }
  });
  fc.assert(property, { numRuns: RUNS / 10 });
});

/** Beyond any machine's mood, and far below what a loop without a bound would take. */
const BOUND_MS = 100;

test.each([
  ['a header section without an end', ascii(`GET / HTTP/1.1\r\n${'a:\r\n'.repeat(4096)}`)],
  ['a target without an end', ascii(`GET /${'a'.repeat(16_384)}`)],
  ['a long absolute target', ascii(`GET http://${'a:'.repeat(8000)} HTTP/1.1\r\n\r\n`)],
  ['records of one byte', joined(Array(2700).fill(Uint8Array.of(22, 3, 1, 0, 1, 1)))],
  [
    'protocol names without an end',
    joined(tlsClientHello('a', { alpn: Array(63).fill('x'.repeat(250)) })),
  ],
  [
    'frames of HTTP/2 without an end',
    joined([
      ascii('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
      ...Array(2000).fill(Uint8Array.of(0, 0, 0, 4, 0, 0, 0, 0, 0)),
    ]),
  ],
])('%s: 16 KiB are answered in bounded time', (_what, bytes) => {
  const start = performance.now();
  const sniffed = sniff(bytes.slice(0, 16_384));
  expect(performance.now() - start).toBeLessThan(BOUND_MS);
  expect(sniffed).not.toBe('need-more');
});
