import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { PrefixTranslation } from '../../../src/stack/nat/prefix.ts';
import { formatAddress, parseAddress, parseCidr } from '../../../src/stack/wire/ip-address.ts';
import { allocatedTypes } from '../../support/no-alloc.ts';
import { referenceChecksum, viewOf } from '../../support/packet-builder.ts';

const translation = (inside: string, outside: string) =>
  new PrefixTranslation(parseCidr(inside)!, parseCidr(outside)!);

/** What becomes of an address; undefined when it is refused, and then it stays as it is. */
function translate(
  prefixes: PrefixTranslation,
  direction: 'outward' | 'inward',
  address: string,
): string | undefined {
  const bytes = parseAddress(address)!;
  const before = bytes.slice();
  if (prefixes[direction](viewOf(bytes), 0)) return formatAddress(viewOf(bytes), 0, 16);
  expect(bytes).toEqual(before);
  return undefined;
}

describe('addresses with their other side', () => {
  test.each([
    // RFC 6296 §3.6.
    ['fd01:203:405::/48', '2001:db8:1::/48', 'fd01:203:405:1::1234', '2001:db8:1:d550::1234'],
    // Subnet 0x2ab0 would become 0xffff, the other zero.
    ['fd01:203:405::/48', '2001:db8:1::/48', 'fd01:203:405:2ab0::1', '2001:db8:1::1'],
    ['fd01:203:405::/56', '2001:db8:1::/56', 'fd01:203:405:a1::1', '2001:db8:1:a1:d54f::1'],
    // The first word of the identifier is passed over; bits between prefix and /64 stay.
    [
      'fd01:203:405::/52',
      '2001:db8:1::/52',
      'fd01:203:405:fff:ffff:1::',
      '2001:db8:1:fff:ffff:d550::',
    ],
    ['fd00::/64', 'fd00:0:0:1::/64', 'fd00::1', 'fd00::1:fffe:0:0:1'],
  ])('%s to %s: %s', (inside, outside, from, to) => {
    const prefixes = translation(inside, outside);
    expect(translate(prefixes, 'outward', from)).toBe(to);
    expect(translate(prefixes, 'inward', to)).toBe(from);
  });
});

describe('what has no other side is refused', () => {
  test.each([
    ['a subnet of 0xffff', '/48', 'fd01:203:405:ffff::1'],
    ['an identifier of ones', '/49', 'fd01:203:405:1:ffff:ffff:ffff:ffff'],
    ['an identifier of zeros', '/49', 'fd01:203:405:1::'],
  ])('%s', (_name, length, address) => {
    const prefixes = translation(`fd01:203:405::${length}`, `2001:db8:1::${length}`);
    expect(translate(prefixes, 'outward', address)).toBeUndefined();
    const outside = address.replace('fd01:203:405', '2001:db8:1');
    expect(translate(prefixes, 'inward', outside)).toBeUndefined();
  });

  test('an identifier of zeros is fine where the subnet makes up for the prefix', () => {
    const prefixes = translation('fd01:203:405::/48', '2001:db8:1::/48');
    expect(translate(prefixes, 'outward', 'fd01:203:405:1::')).toBe('2001:db8:1:d550::');
  });
});

test('there and back is the identity, and no checksum changes', () => {
  const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
  const identifier = fc.oneof(bytes(8), fc.constant(new Uint8Array(8).fill(0xff).with(7, 1)));
  fc.assert(
    fc.property(
      bytes(8),
      bytes(8),
      bytes(8),
      identifier,
      fc.nat(64),
      fc.nat(64),
      (inside, outside, subnet, tail, insideLength, outsideLength) => {
        const cidr = (prefix: Uint8Array, prefixLength: number) => ({
          bytes: Uint8Array.from([...prefix, ...tail]),
          prefixLength,
        });
        const from = cidr(inside, insideLength);
        const prefixes = new PrefixTranslation(from, cidr(outside, outsideLength));
        const length = Math.max(insideLength, outsideLength);
        // The address: its prefix as a number, and bits of its own behind it.
        const own = (1n << BigInt(64 - length)) - 1n;
        const mask = ~((1n << BigInt(64 - insideLength)) - 1n) & 0xffff_ffff_ffff_ffffn;
        const prefix = viewOf(inside).getBigUint64(0) & mask;
        const address = Uint8Array.from([...new Uint8Array(8), ...tail]);
        const view = viewOf(address);
        view.setBigUint64(0, prefix | (viewOf(subnet).getBigUint64(0) & own));
        const before = address.slice();
        expect(prefixes.isInside(view, 0)).toBe(true);
        if (!prefixes.outward(view, 0)) return;
        expect(prefixes.isOutside(view, 0)).toBe(true);
        // Both zeros are one.
        expect(referenceChecksum(address) % 0xffff).toBe(referenceChecksum(before) % 0xffff);
        // RFC 6296 makes zeros of few identifiers, and then refuses them.
        if (length > 48 && view.getBigUint64(8) === 0n) return;
        expect(prefixes.inward(view, 0)).toBe(true);
        expect(address).toEqual(before);
      },
    ),
    { numRuns: 2_000 },
  );
});

test('a prefix that is none is a mistake of the caller', () => {
  expect(() => translation('fd00::/65', '2001:db8::/48')).toThrow('at most 64 bits');
  expect(() => translation('fd00::/48', '10.0.0.0/8')).toThrow('IPv6');
});

test('translating allocates nothing', () => {
  const prefixes = translation('fd01:203:405::/56', '2001:db8:1::/56');
  const view = viewOf(parseAddress('fd01:203:405:1::1234')!);
  expect(
    allocatedTypes(() => {
      prefixes.outward(view, 0);
      prefixes.inward(view, 0);
    }),
  ).toEqual([]);
});
