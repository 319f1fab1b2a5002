/**
 * NAT there and back is the identity on every header and checksum; and there, the packet is the one
 * that its new sender would have made.
 */
import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { rewriteDestination, rewriteSource } from '../../src/stack/nat/rewrite.ts';
import { lay, type NatFields, natPacket, type Offload, putAddress } from '../support/nat-packet.ts';
import { concat, pattern, viewOf } from '../support/packet-builder.ts';
import { withPcap } from '../support/pcap.ts';

const PROTOCOLS = [
  'tcp',
  'udp',
  'udp-lite',
  'dccp',
  'sctp',
  'gre',
  'echo-request',
  'echo-reply',
] as const;
const NUMBERS = { tcp: 6, udp: 17, 'udp-lite': 136, dccp: 33, sctp: 132, gre: 47 };

/** What `rewriteSource` and `rewriteDestination` are told. */
interface Ends {
  readonly source: string;
  readonly destination: string;
  readonly sourcePort: number;
  readonly destinationPort: number;
}

const word = fc.nat(0xffff);
const byte = fc.nat(0xff);
const ipv4Address = fc.tuple(byte, byte, byte, byte).map((bytes) => bytes.join('.'));
const ipv6Address = fc
  .array(word, { minLength: 8, maxLength: 8 })
  .map((words) => words.map((w) => w.toString(16)).join(':'));
/** Often the same as another, often near the ends of the range. */
const port = fc.oneof(fc.constantFrom(0, 1, 0xfffe, 0xffff), word);

const endsOf = (isIpv6: boolean): fc.Arbitrary<Ends> => {
  const address = isIpv6
    ? fc.oneof(fc.constantFrom('::', 'fd00::1', 'ff:ff:ff:ff:ff:ff:ff:ff'), ipv6Address)
    : fc.oneof(fc.constantFrom('0.0.0.0', '10.0.0.1', '255.255.255.255'), ipv4Address);
  return fc.record({
    source: address,
    destination: address,
    sourcePort: port,
    destinationPort: port,
  });
};

/** IPv6 extension headers in front of `protocol`, each of 8 bytes. */
function extensions(kinds: readonly number[], protocol: number): Partial<NatFields> {
  if (kinds.length === 0) return {};
  const headers = kinds.map((_, index) =>
    // Options: PadN of 4 bytes. As routing header: type 1, no segments left. As fragment: atomic.
    Uint8Array.of(kinds[index + 1] ?? protocol, 0, 1, 0, 0, 0, 0, 0),
  );
  for (const [index, kind] of kinds.entries()) if (kind === 60) headers[index]![3] = 4;
  for (const [index, kind] of kinds.entries()) if (kind === 44) headers[index]![2] = 0;
  return { extensionHeader: kinds[0]!, extra: concat(headers) };
}

interface Case {
  readonly fields: NatFields;
  readonly to: Ends;
  /** The payload is chosen so that a checksum comes out as zero: before, or after. */
  readonly zero: 'before' | 'after' | 'neither';
}

/** Small values, of which a failure can print its own; `caseOf` makes the packet of them. */
const anyCase = fc.boolean().chain((isIpv6) =>
  fc.record({
    isIpv6: fc.constant(isIpv6),
    protocol: fc.constantFrom(...PROTOCOLS),
    from: endsOf(isIpv6),
    to: endsOf(isIpv6),
    offload: fc.constantFrom<Offload[]>('full', 'full', 'partial', 'none'),
    length: fc.oneof(fc.integer({ min: 2, max: 80 }), fc.nat(3_000), fc.constant(60_001)),
    optionWords: fc.nat(10),
    ipOptionWords: fc.nat(10),
    kinds: fc.subarray([60, 43, 44]),
    ttl: byte,
    trafficClass: byte,
    identification: word,
    seed: fc.nat(1000),
    zero: fc.constantFrom('before' as const, 'after' as const, 'neither' as const),
  }),
);

function caseOf(raw: typeof anyCase extends fc.Arbitrary<infer T> ? T : never): Case {
  const { isIpv6, protocol, from, to, seed } = raw;
  const isEcho = protocol === 'echo-request' || protocol === 'echo-reply';
  const number = isEcho ? 58 : NUMBERS[protocol];
  // Only UDP may go without, and ICMP is summed by those who send it.
  const isFull = (raw.offload === 'none' && protocol !== 'udp') || isEcho;
  const fields: NatFields = {
    protocol,
    ...from,
    offload: isFull ? 'full' : raw.offload,
    payload: concat([new Uint8Array(2), pattern(Math.max(0, raw.length - 2), seed + 1)]),
    ttl: raw.ttl,
    trafficClass: raw.trafficClass,
    identification: raw.identification,
    options: pattern(raw.optionWords * 4, seed + 2),
    ...(isIpv6
      ? extensions(raw.kinds, number)
      : { extra: new Uint8Array(raw.ipOptionWords * 4).fill(1) }),
  };
  // A reply whose header is zeros may come back with the other zero: see rewrite.test.ts.
  const hasOneZero = protocol === 'echo-reply' && from.destinationPort * to.destinationPort === 0;
  return { fields, to, zero: hasOneZero ? 'neither' : raw.zero };
}

/** `fields` as NAT makes them: ends that the protocol does not have stay what they are. */
function translated(fields: NatFields, to: Ends): NatFields {
  const hasPorts = fields.protocol === 'tcp' || fields.protocol === 'udp';
  return {
    ...fields,
    source: to.source,
    destination: to.destination,
    sourcePort: hasPorts || fields.protocol === 'echo-request' ? to.sourcePort : fields.sourcePort,
    destinationPort:
      hasPorts || fields.protocol === 'echo-reply' ? to.destinationPort : fields.destinationPort,
  };
}

/** The first word of the payload is 0; as what the checksum is, it makes the checksum zero. */
function withZeroChecksum(fields: NatFields, like: NatFields): NatFields {
  const full = natPacket({ ...like, offload: 'full' });
  const offsets = { tcp: 16, 'echo-request': 2, 'echo-reply': 2 } as Record<string, number>;
  const headers = { tcp: 20 + like.options!.length, dccp: 12, sctp: 12 } as Record<string, number>;
  const transportAt = full.length - like.payload.length - (headers[like.protocol] ?? 8);
  const value = viewOf(full).getUint16(transportAt + (offsets[like.protocol] ?? 6));
  const payload = fields.payload.slice();
  viewOf(payload).setUint16(0, value);
  return { ...fields, payload };
}

function rewrite(laid: ReturnType<typeof lay>, to: Ends): void {
  rewriteSource(laid.view, laid.packet, putAddress(laid, to.source), to.sourcePort);
  rewriteDestination(laid.view, laid.packet, putAddress(laid, to.destination), to.destinationPort);
}

test('there, a packet is as its new sender would make it; back, it is what it was', () => {
  fc.assert(
    fc.property(anyCase, (raw) => {
      const { fields: made, to, zero } = caseOf(raw);
      const like = zero === 'after' ? translated(made, to) : made;
      const fields = zero === 'neither' ? made : withZeroChecksum(made, like);
      const original = natPacket(fields);
      const laid = lay(fields, original);
      const before = { ...laid.packet };
      const expected = natPacket(translated(fields, to));
      rewrite(laid, to);
      withPcap('nat-there', [original, laid.bytes(), expected], () => {
        expect(laid.bytes()).toEqual(expected);
      });
      const there = translated(fields, to);
      if (before.sourcePort !== 0) expect(laid.packet.sourcePort).toBe(there.sourcePort);
      if (before.destinationPort !== 0) {
        expect(laid.packet.destinationPort).toBe(there.destinationPort);
      }
      rewrite(laid, fields);
      withPcap('nat-back', [original, laid.bytes()], () => {
        expect(laid.bytes()).toEqual(original);
      });
      expect(laid.packet).toEqual(before);
    }),
    { numRuns: 2_000 },
  );
});
