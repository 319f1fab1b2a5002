import { describe, expect, test } from 'bun:test';
import { readDnsAnswer } from '../../../src/gateway/script-host/dns-answer.ts';
import { dnsAnswer, EDNS, nameBytes, POINTER, RecordType } from '../../support/dns-message.ts';

const { A, AAAA, CNAME, HTTPS } = RecordType;
const V4 = [192, 0, 2, 7];
const V6 = [0x20, 1, 0xd, 0xb8, ...Array<number>(11).fill(0), 7];
const one = (owner: string | readonly number[], ttl?: number) => ({
  ...{ owner, type: A, data: V4 },
  ...(ttl === undefined ? {} : { ttl }),
});

test('an address of either family is of the name that was asked for', () => {
  const records = [one(POINTER), { owner: POINTER, type: AAAA, data: V6, ttl: 60 }];
  expect(readDnsAnswer(dnsAnswer({ name: 'Www.Example.COM', records, tail: EDNS }))).toEqual({
    name: 'www.example.com',
    addresses: [
      { ip: '192.0.2.7', ttlS: 300 },
      { ip: '2001:db8::7', ttlS: 60 },
    ],
  });
});

test('aliases are followed in any order, and live as long as the shortest of them', () => {
  const alias = (owner: string, to: string, ttl: number) => ({
    ...{ owner, type: CNAME, data: nameBytes(to), ttl },
  });
  const records = [
    one('edge.example.net'),
    alias('CDN.example.net', 'edge.example.net', 20),
    alias('www.example.com', 'cdn.example.net', 100),
  ];
  const answer = { name: 'www.example.com', addresses: [{ ip: '192.0.2.7', ttlS: 20 }] };
  expect(readDnsAnswer(dnsAnswer({ name: 'www.example.com', records }))).toEqual(answer);
  expect(
    readDnsAnswer(dnsAnswer({ name: 'www.example.com', records: records.toReversed() })),
  ).toEqual(answer);
});

test('aliases that lead to each other end', () => {
  const records = [
    { owner: 'a.example', type: CNAME, data: nameBytes('b.example') },
    { owner: 'b.example', type: CNAME, data: nameBytes('a.example') },
  ];
  expect(readDnsAnswer(dnsAnswer({ name: 'a.example', records }))).toBeUndefined();
});

test.each<[string, Parameters<typeof dnsAnswer>[0]]>([
  ['an address of another name', { name: 'a.example', records: [one('b.example')] }],
  ['a name whose end is another', { name: 'a.example', records: [one('a.example.org')] }],
  ['another class', { name: 'a.example', records: [{ ...one(POINTER), dnsClass: 3 }] }],
  ['another type', { name: 'a.example', records: [{ ...one(POINTER), type: HTTPS }] }],
  ['an address that is too long', { name: 'a.example', records: [{ ...one(POINTER), data: V6 }] }],
  ['the root', { name: '.', records: [one(POINTER)] }],
  ['a label with a dot', { name: [3, 97, 46, 98, 0], records: [one(POINTER)] }],
  ['a label that is no ASCII', { name: 'caf\u00e9.example', records: [one(POINTER)] }],
  ['a label with a zero', { name: [2, 97, 0, 0], records: [one(POINTER)] }],
  ['a label of an unknown kind', { name: [0x41, 97, 0], records: [one(POINTER)] }],
  ['no record', { name: 'a.example' }],
  ['fewer records than it says', { name: 'a.example', count: 65_535 }],
])('there is no name in an answer with %s', (_, fields) => {
  expect(readDnsAnswer(dnsAnswer(fields))).toBeUndefined();
});

test('a dot inside of a label is none between labels', () => {
  const records = [one([9, ...Buffer.from('a.example'), 0])];
  expect(readDnsAnswer(dnsAnswer({ name: 'a.example', records }))).toBeUndefined();
});

describe('pointers', () => {
  const at = 12 + nameBytes('a.example').length + 4;
  test.each([
    ['to itself', [0xc0, at]],
    ['to what comes later', [0xc0, at + 2]],
    ['into the header', [0xc0, 0]],
    ['behind the end', [0xff, 0xff]],
  ])('%s are refused', (_, owner) => {
    expect(readDnsAnswer(dnsAnswer({ name: 'a.example', records: [one(owner)] }))).toBeUndefined();
  });

  test('that lead around in a circle are refused', () => {
    const circle = [1, 120, 0xc0, at];
    const message = dnsAnswer({ name: 'a.example', records: [one(circle)] });
    expect(readDnsAnswer(message)).toBeUndefined();
  });

  test('behind labels lead on', () => {
    const owner = [1, 119, ...POINTER];
    const records = [
      { owner: POINTER, type: CNAME, data: [1, 119, ...POINTER] },
      { ...one(owner), ttl: 0xffff_ffff },
    ];
    expect(readDnsAnswer(dnsAnswer({ name: 'a.example', records }))).toEqual({
      name: 'a.example',
      addresses: [{ ip: '192.0.2.7', ttlS: 0 }],
    });
  });
});

test('a name may have 253 characters, and no more', () => {
  const labels = (last: number) =>
    [...Array<string>(3).fill('x'.repeat(63)), 'y'.repeat(last)].join('.');
  const of = (name: string) => readDnsAnswer(dnsAnswer({ name, records: [one(POINTER)] }))?.name;
  expect(of(labels(61))).toBe(labels(61));
  expect(of(labels(62))).toBeUndefined();
});

test('of thousands of records 64 are read', () => {
  const records = Array.from({ length: 4000 }, () => one(POINTER));
  const answer = readDnsAnswer(dnsAnswer({ name: 'a.example', records }));
  expect(answer?.addresses).toHaveLength(64);
});

test('what was read before the message is cut off counts, wherever that is', () => {
  const message = dnsAnswer({ name: 'a.example', records: [one(POINTER), one(POINTER)] });
  const counts = Array.from({ length: message.length + 1 }, (_, length) => {
    return readDnsAnswer(message.subarray(0, length))?.addresses.length ?? 0;
  });
  expect(counts).toEqual(counts.toSorted());
  expect(new Set(counts)).toEqual(new Set([0, 1, 2]));
});
