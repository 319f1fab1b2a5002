import { expect, test } from 'bun:test';
import { sniffDnsDatagram } from '../../../src/scripts-runtime/sniff/dns.ts';
import { dnsQuery } from '../../../src/scripts-runtime/sniff/fixtures.ts';
import { sniff } from '../../../src/scripts-runtime/sniff/sniff.ts';
import { joined, sniffByteByByte } from '../../support/splits.ts';

const datagram = (...options: Parameters<typeof dnsQuery>): Uint8Array =>
  joined(dnsQuery(...options));
const [FLAGS_AT, QUESTIONS_AT, ANSWERS_AT, AUTHORITIES_AT, NAME_AT] = [2, 5, 7, 9, 12];

test.each([
  ['WWW.Example.com', 1, 'www.example.com', 'A'],
  ['example.com.', 28, 'example.com', 'AAAA'],
  ['.', 2, '.', 'NS'],
  ['_443._tcp.a', 65280, '_443._tcp.a', 'TYPE65280'],
])('a question for %s', (name, type, qname, qtype) => {
  expect(sniffDnsDatagram(datagram(name, type))).toEqual({ proto: 'dns', qname, qtype });
});

test('over TCP a question is known as soon as its type and class are there', () => {
  const { sniffed, length } = sniffByteByByte(datagram('a.example', 1, { over: 'tcp' }));
  expect(sniffed).toEqual({ proto: 'dns', qname: 'a.example', qtype: 'A' });
  expect(length).toBe(2 + NAME_AT + 11 + 4);
});

test('a label may hold any bytes, and they are escaped as in a zone file', () => {
  const bytes = datagram('abcd.x', 1);
  bytes.set([0x2e, 0x5c, 0x00, 0xff], NAME_AT + 1);
  expect(sniffDnsDatagram(bytes)).toMatchObject({ qname: '\\.\\\\\\000\\255.x' });
});

test.each([
  ['an answer', FLAGS_AT, 0x81],
  ['an update', FLAGS_AT, 0x29],
  ['a bit that must be zero', FLAGS_AT + 1, 0x60],
  ['two questions', QUESTIONS_AT, 2],
  ['no question', QUESTIONS_AT, 0],
  ['an answer section', ANSWERS_AT, 1],
  ['an authority section', AUTHORITIES_AT, 1],
  ['a name that points elsewhere', NAME_AT, 0xc0],
])('%s is no question', (_what, at, value) => {
  expect(sniffDnsDatagram(datagram('a.example').with(at, value))).toBe('no-match');
});

test('an IXFR brings an SOA, and is a question', () => {
  expect(sniffDnsDatagram(datagram('a.example', 251).with(AUTHORITIES_AT, 1))).toMatchObject({
    qtype: 'IXFR',
  });
});

test('a name has 255 bytes at most', () => {
  const name = (last: number): string => [63, 63, 63, last].map((n) => 'a'.repeat(n)).join('.');
  expect(sniffDnsDatagram(datagram(name(61)))).toMatchObject({ qname: name(61) });
  expect(sniffDnsDatagram(datagram(name(62)))).toBe('no-match');
});

test('a message that ends before its question does is none', () => {
  const bytes = datagram('a.example');
  const questionEnd = NAME_AT + 11 + 4;
  for (let length = 0; length < questionEnd; length++) {
    expect(sniffDnsDatagram(bytes.slice(0, length))).toBe('no-match');
  }
  expect(sniffDnsDatagram(bytes.slice(0, questionEnd))).toMatchObject({ proto: 'dns' });
  const short = Uint8Array.from([0, 20, ...bytes]);
  expect(sniff(short, ['dns'])).toEqual({ proto: 'unknown', why: 'no-match' });
});
