/**
 * How current browsers begin, as record.ts has recorded it: with post-quantum keys their hello is
 * longer than a segment, so that it comes in two at least, and with any cut between them.
 */
import { describe, expect, test } from 'bun:test';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatagramSniffer } from '../../../src/scripts-runtime/sniff/datagrams.ts';
import { sniff } from '../../../src/scripts-runtime/sniff/sniff.ts';
import { permutations } from '../../support/permutations.ts';
import { sniffByteByByte } from '../../support/splits.ts';

const FOLDER = join(import.meta.dir, 'captures');
const NAME = 'capture.corp.example';
/** Of Ethernet, IPv4, with timestamps. */
const MSS = 1448;

/** Lines of hexadecimal digits; an empty line ends a datagram, `#` begins a comment. */
function read(file: string): Uint8Array[] {
  const text = readFileSync(join(FOLDER, file), 'utf8').replaceAll(/^#.*\n/gm, '');
  const pieces = text.split('\n\n').map((lines) => lines.replaceAll('\n', ''));
  return pieces.filter(Boolean).map((hex) => new Uint8Array(Buffer.from(hex, 'hex')));
}

const captures = (kind: string): string[] =>
  readdirSync(FOLDER).filter((file) => file.endsWith(`-${kind}.txt`));

test('there are captures of both kinds', () => {
  expect(captures('tls').length).toBeGreaterThan(0);
  expect(captures('quic').length).toBeGreaterThan(0);
});

describe.each(captures('tls'))('%s', (file) => {
  const [hello = new Uint8Array()] = read(file);
  const expected = { proto: 'tls', sni: NAME, alpn: ['h2', 'http/1.1'], ech: true };

  test('is known as a whole, and is longer than a segment', () => {
    expect(sniff(hello)).toEqual(expected as never);
    expect(hello.length).toBeGreaterThan(MSS);
  });

  test('wherever it is cut: the rest is asked for, and then it is known', () => {
    expect(sniffByteByByte(hello)).toEqual({ sniffed: expected as never, length: hello.length });
  });
});

describe.each(captures('quic'))('%s', (file) => {
  const datagrams = read(file);
  const expected = { proto: 'quic', version: 1, sni: NAME, alpn: ['h3'], ech: true };
  const answers = (order: readonly Uint8Array[]) => {
    const sniffer = new DatagramSniffer();
    return order.map((datagram) => sniffer.push(datagram));
  };

  test('is known by several datagrams, and not by the first', () => {
    const all = answers(datagrams);
    expect(all[0]).toBe('need-more');
    expect(all.at(-1)).toEqual(expected as never);
  });

  test('is known in whatever order they come', () => {
    for (const order of permutations([...datagrams.keys()])) {
      const arrived = order.map((at) => datagrams[at] ?? new Uint8Array());
      expect(answers(arrived).at(-1)).toEqual(expected as never);
    }
  });
});
