import { describe, expect, test } from 'bun:test';
import {
  parseCidr,
  parseDuration,
  parseMark,
  parsePorts,
  parseSize,
  parseTarget,
} from '../../../src/gateway/config/value-texts.ts';

describe('durations', () => {
  test.each([
    ['250ms', 250],
    ['10s', 10_000],
    ['1m30s', 90_000],
    ['1.5h', 5_400_000],
  ])('%s is %d ms', (text, ms) => expect(parseDuration(text)).toBe(ms));

  test.each(['10', 's', '10 s', '-1s', '10d', ''])('"%s" is none', (text) =>
    expect(parseDuration(text)).toBeUndefined(),
  );
});

describe('sizes', () => {
  test.each([
    ['4096B', 4096],
    ['64KiB', 65_536],
    ['1.5MiB', 1_572_864],
  ])('%s is %d bytes', (text, bytes) => expect(parseSize(text)).toBe(bytes));

  test.each(['4096', '1MB', 'MiB', '-1KiB'])('"%s" is none', (text) =>
    expect(parseSize(text)).toBeUndefined(),
  );
});

describe('addresses', () => {
  test('a network has its prefix length', () =>
    expect(parseCidr('10.0.0.0/8')).toEqual({ ip: '10.0.0.0', prefixLength: 8, family: 4 }));

  test('an address alone is its own network', () =>
    expect(parseCidr('fd00::1')).toEqual({ ip: 'fd00::1', prefixLength: 128, family: 6 }));

  test.each([
    '10.0.0.0/33',
    'fd00::/129',
    '10.0.0/8',
    '10.0.0.0/8/8',
    'fe80::1%eth0/64',
    '/8',
    '::ffff:1.2.3.4/95',
  ])('"%s" is no network', (text) => expect(parseCidr(text)).toBeUndefined());

  test.each([
    ['::ffff:1.2.3.4', { ip: '1.2.3.4', prefixLength: 32, family: 4 }],
    ['::FFFF:102:0/112', { ip: '1.2.0.0', prefixLength: 16, family: 4 }],
    ['FD00::0:1/64', { ip: 'fd00::1', prefixLength: 64, family: 6 }],
    ['64:ff9b::1.2.3.4/96', { ip: '64:ff9b::102:304', prefixLength: 96, family: 6 }],
  ] as const)('%s is the network that packets are of', (text, network) =>
    expect(parseCidr(text)).toEqual(network),
  );

  test.each([
    ['::ffff:1.2.3.4', { ip: '1.2.3.4' }],
    ['[::ffff:1.2.3.4]:80', { ip: '1.2.3.4', port: 80 }],
    ['[::FFFF:102:304]:80', { ip: '1.2.3.4', port: 80 }],
    ['10.0.0.1', { ip: '10.0.0.1' }],
    ['10.0.0.1:80', { ip: '10.0.0.1', port: 80 }],
    ['fd00::1', { ip: 'fd00::1' }],
    ['[fd00::1]:80', { ip: 'fd00::1', port: 80 }],
  ])('%s is a target', (text, target) => expect(parseTarget(text)).toEqual(target));

  test.each(['10.0.0.1:0', '10.0.0.1:65536', '[10.0.0.1]:80', 'example.org:80', '[fd00::1]'])(
    '"%s" is no target',
    (text) => expect(parseTarget(text)).toBeUndefined(),
  );
});

describe('ports and marks', () => {
  test('a list holds ports and ranges', () =>
    expect(parsePorts('80, 443,8000-8100')).toEqual([
      [80, 80],
      [443, 443],
      [8000, 8100],
    ]));

  test.each(['0', '65536', '90-80', '80,', 'http'])('"%s" is no list of ports', (text) =>
    expect(parsePorts(text)).toBeUndefined(),
  );

  test('a mark is decimal or hexadecimal', () => {
    expect(parseMark('555')).toBe(555);
    expect(parseMark('0x22b')).toBe(555);
    expect(parseMark('4294967296')).toBeUndefined();
    expect(parseMark('0x')).toBeUndefined();
  });
});
