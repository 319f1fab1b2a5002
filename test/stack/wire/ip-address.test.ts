import { describe, expect, test } from 'bun:test';
import {
  addressEquals,
  formatAddress,
  isBroadcast,
  isLinkLocal,
  isLoopback,
  isMapped,
  isMulticast,
  isUnspecified,
  matchesPrefix,
  parseAddress,
  parseCidr,
  writeAddress,
} from '../../../src/stack/wire/ip-address.ts';
import { concat, hex, viewOf } from '../../support/packet-builder.ts';

const bytesOf = (text: string): Uint8Array => {
  const bytes = parseAddress(text);
  if (bytes === undefined) throw new Error(`${text} did not parse`);
  return bytes;
};
const reformat = (text: string): string => {
  const bytes = bytesOf(text);
  return formatAddress(viewOf(bytes), 0, bytes.length);
};

describe('formatAddress follows RFC 5952', () => {
  test.each([
    ['2001:0db8:0:0:1:0:0:1', '2001:db8::1:0:0:1', '§4.2.3: the first of two equal runs'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1', '§4.2.2: a single zero stays'],
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1', '§4.2.3: the longest run'],
    ['2001:DB8::AAAA', '2001:db8::aaaa', '§4.3: lower case'],
    ['::', '::', 'all zero'],
    ['::1', '::1', 'run at the start'],
    ['fe80::', 'fe80::', 'run at the end'],
    ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0', 'one group is no run'],
    ['::ffff:192.0.2.1', '::ffff:192.0.2.1', '§5: mapped addresses keep the dotted quad'],
    ['255.0.10.1', '255.0.10.1', 'dotted quad'],
  ])('%s prints as %s (%s)', (text, printed) => {
    expect(reformat(text)).toBe(printed);
  });
});

describe('parseAddress', () => {
  test('reads the forms of RFC 4291 §2.2', () => {
    expect(bytesOf('2001:DB8:0:0:8:800:200C:417A')).toEqual(
      hex('20010db8000000000008 0800200c417a'),
    );
    expect(bytesOf('::13.1.68.3')).toEqual(hex('000000000000000000000000 0d014403'));
    expect(bytesOf('1:2:3:4:5:6:1.2.3.4')).toEqual(hex('00010002000300040005000601020304'));
  });

  test.each([
    '',
    '1.2.3',
    '1.2.3.4.5',
    '1.2.3.256',
    '01.2.3.4',
    '1.2.3.4 ',
    '1.2.3.-4',
    '1..2.3',
    '0x1.2.3.4',
    ':',
    ':::',
    '1::2::3',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7:8::',
    '::1:2:3:4:5:6:7:8',
    '12345::',
    'g::',
    'fe80::1%eth0',
    '[::1]',
    '::1/64',
    '1.2.3.4::',
    '::1.2.3.4:5',
    '::1.2.3',
    ':1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:',
    '1:2:3:4:5:6:7:1.2.3.4',
  ])('refuses %p', (text) => {
    expect(parseAddress(text)).toBeUndefined();
  });
});

test('writeAddress writes at the position, tells the family, and 0 for no address', () => {
  const view = new DataView(new ArrayBuffer(20));
  expect(writeAddress('1.2.3.4', view, 1)).toBe(4);
  expect(view.getUint32(1)).toBe(0x01020304);
  expect(writeAddress('::5', view, 2)).toBe(6);
  expect(view.getUint8(17)).toBe(5);
  expect(writeAddress('localhost', view, 0)).toBe(0);
});

describe('parseCidr', () => {
  test.each([
    ['10.0.0.0/8', 8],
    ['10.1.2.3', 32],
    ['0.0.0.0/0', 0],
    ['fd00::/64', 64],
    ['::1', 128],
  ])('%s has %d bits', (text, bits) => {
    expect(parseCidr(text)?.prefixLength).toBe(bits);
  });

  test('keeps the bits behind the prefix', () => {
    expect(parseCidr('198.18.0.1/15')?.bytes).toEqual(Uint8Array.of(198, 18, 0, 1));
  });

  test.each([
    '10.0.0.0/33',
    'fd00::/129',
    '10.0.0.0/',
    '10.0.0.0/08',
    '/8',
    '10/8',
    '::/-1',
    '::/1/2',
  ])('refuses %p', (text) => {
    expect(parseCidr(text)).toBeUndefined();
  });
});

describe('matchesPrefix', () => {
  test.each([
    ['10.1.2.3', '10.0.0.0/8', true],
    ['11.1.2.3', '10.0.0.0/8', false],
    ['198.19.255.255', '198.18.0.0/15', true],
    ['198.20.0.0', '198.18.0.0/15', false],
    ['1.2.3.4', '0.0.0.0/0', true],
    ['1.2.3.4', '1.2.3.4/32', true],
    ['1.2.3.5', '1.2.3.4/32', false],
    ['1.2.3.5', '1.2.3.4/31', true],
    ['fd00:9::1', 'fd00:8::/31', true],
    ['fd00:9::1', 'fd00:8::/32', false],
    ['::2', '::1/128', false],
  ])('%s in %s: %p', (address, cidr, expected) => {
    const block = parseCidr(cidr);
    const view = viewOf(bytesOf(address));
    expect(matchesPrefix(view, 0, block?.bytes ?? hex(''), block?.prefixLength ?? 0)).toBe(
      expected,
    );
  });
});

test('addressEquals sees a difference in every byte', () => {
  const address = bytesOf('fd00:9::1');
  for (let i = 0; i < 16; i++) {
    const other = address.slice();
    other[i] = (other[i] ?? 0) ^ 1;
    expect(addressEquals(viewOf(concat([address, other])), 0, 16, 16)).toBe(false);
  }
  expect(addressEquals(viewOf(concat([address, address])), 0, 16, 16)).toBe(true);
});

describe('what an address is', () => {
  const predicates = {
    isUnspecified,
    isLoopback,
    isMulticast,
    isBroadcast,
    isLinkLocal,
    isMapped,
  };
  test.each([
    ['0.0.0.0', ['isUnspecified']],
    ['::', ['isUnspecified']],
    ['127.255.0.1', ['isLoopback']],
    ['::1', ['isLoopback']],
    ['::2', []],
    ['1::1', []],
    ['224.0.0.0', ['isMulticast']],
    ['239.255.255.255', ['isMulticast']],
    ['240.0.0.1', []],
    ['ff02::1', ['isMulticast']],
    ['fe00::', []],
    ['255.255.255.255', ['isBroadcast']],
    ['255.255.255.254', []],
    ['169.254.0.1', ['isLinkLocal']],
    ['169.253.0.1', []],
    ['fe80::1', ['isLinkLocal']],
    ['febf::1', ['isLinkLocal']],
    ['fec0::1', []],
    ['::ffff:127.0.0.1', ['isMapped']],
    ['::fffe:127.0.0.1', []],
    ['10.0.0.1', []],
    ['fd00::1', []],
  ])('%s: %p', (address, expected) => {
    const bytes = bytesOf(address);
    const view = viewOf(bytes);
    const found = Object.entries(predicates).filter(([, is]) => is(view, 0, bytes.length));
    expect(found.map(([name]) => name)).toEqual(expected);
  });
});
