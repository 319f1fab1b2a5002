/**
 * `bun test/bench/micro/sniff.ts`: what it costs to find out what a client speaks, with all
 * protocols asked for, and what a client can make it cost that sends 16 KiB byte by byte.
 */
import { DatagramSniffer } from '../../../src/scripts-runtime/sniff/datagrams.ts';
import {
  dnsQuery,
  httpRequest,
  quicInitial,
  sshBanner,
  tlsClientHello,
} from '../../../src/scripts-runtime/sniff/fixtures.ts';
import { sniff } from '../../../src/scripts-runtime/sniff/sniff.ts';
import { SNIFF_BYTES_MAX } from '../../../src/scripts-runtime/sniff/sniffed.ts';
import { nanosecondsPerCall } from './clock.ts';

const BATCH = 100;
const NAME = 'www.corp.example';
const BROWSER_FIELDS = {
  'User-Agent': 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)',
  Accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8',
  'Accept-Encoding': 'gzip, deflate, br, zstd',
  Cookie: 'c'.repeat(300),
};

/** Results end up here, so that no call is dead code. */
let sink = 0;

const joined = (pieces: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(pieces));

function print(what: string, run: () => unknown): void {
  const perCall =
    nanosecondsPerCall(() => {
      for (let i = 0; i < BATCH; i++) sink += run() === 'need-more' ? 1 : 2;
    }) / BATCH;
  console.log(`${what.padEnd(56)} ${(perCall / 1000).toFixed(2).padStart(8)} µs`);
}

const streams: Readonly<Record<string, Uint8Array>> = {
  TLS: joined(tlsClientHello(NAME)),
  'TLS, post-quantum': joined(tlsClientHello(NAME, { postQuantum: true, ech: true })),
  'TLS, post-quantum, the first segment of two': tlsClientHello(NAME, {
    postQuantum: true,
    segments: 2,
  })[0]!,
  'TLS in 5 records': joined(tlsClientHello(NAME, { records: 5 })),
  'HTTP/1.1 of a browser': joined(httpRequest(NAME, { headers: BROWSER_FIELDS })),
  'HTTP/2': joined(httpRequest(NAME, { version: 2, headers: BROWSER_FIELDS })),
  SSH: joined(sshBanner()),
  'DNS over TCP': joined(dnsQuery(NAME, 1, { over: 'tcp' })),
  'none of them': Uint8Array.from({ length: 1400 }, (_, i) => (i * 89 + 3) & 0xff),
};
for (const [what, bytes] of Object.entries(streams)) print(what, () => sniff(bytes));

const datagrams: Readonly<Record<string, readonly Uint8Array[]>> = {
  'DNS over UDP': dnsQuery(NAME),
  'QUIC, one datagram': quicInitial(NAME),
  'QUIC, post-quantum, two datagrams': quicInitial(NAME, { postQuantum: true, frames: 8 }),
};
for (const [what, pieces] of Object.entries(datagrams)) {
  print(what, () => {
    const sniffer = new DatagramSniffer();
    return pieces.map((piece) => sniffer.push(piece)).at(-1);
  });
}

/** All prefixes of 16 KiB, each sniffed anew. */
function printDrip(what: string, bytes: Uint8Array): void {
  const start = Bun.nanoseconds();
  for (let length = 1; length <= SNIFF_BYTES_MAX; length++) {
    sink += sniff(bytes.subarray(0, length)) === 'need-more' ? 1 : 2;
  }
  const ms = (Bun.nanoseconds() - start) / 1e6;
  console.log(`${what.padEnd(56)} ${ms.toFixed(1).padStart(8)} ms`);
}

const text = (start: string, unit: string): Uint8Array =>
  new TextEncoder()
    .encode(start + unit.repeat(SNIFF_BYTES_MAX / unit.length))
    .slice(0, SNIFF_BYTES_MAX);
printDrip('16 KiB byte by byte: header fields', text('GET / HTTP/1.1\r\n', 'a: b\r\n'));
printDrip('16 KiB byte by byte: a target', text('GET /', 'a'));
printDrip(
  '16 KiB byte by byte: TLS records of one byte',
  joined([
    ...Array.from(Uint8Array.of(1, 0, 0x3f, 0), (byte) => Uint8Array.of(22, 3, 1, 0, 1, byte)),
    ...Array<Uint8Array>(SNIFF_BYTES_MAX).fill(Uint8Array.of(22, 3, 1, 0, 1, 1)),
  ]),
);
if (Number.isNaN(sink)) throw new Error('a result was not a number');
