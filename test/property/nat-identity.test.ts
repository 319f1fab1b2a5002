/**
 * NAT there and back is the identity on every header and checksum; and there, the packet is the one
 * that its new sender would have made.
 */
import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { FLOW_ROW_BYTES } from '../../src/stack/flow-row.ts';
import { clampMss, rewriteDestination, rewriteSource } from '../../src/stack/nat/rewrite.ts';
import { readQuote, translateError } from '../../src/stack/nat/translate-error.ts';
import { TcpOptions } from '../../src/stack/wire/tcp-options.ts';
import { mutatedPacket } from '../support/mutated-packet.ts';
import {
  errorPacket,
  lay,
  type NatFields,
  natPacket,
  newPacket,
  type Offload,
  putAddress,
} from '../support/nat-packet.ts';
import {
  concat,
  icmpPacket,
  pattern,
  referenceChecksum,
  viewOf,
} from '../support/packet-builder.ts';
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

test('whatever the options of a SYN are, clamping lowers its MSS and keeps its checksum', () => {
  const option = fc.oneof(
    fc.constantFrom([0], [1], [2], [2, 0], [2, 4, 0xff], [8, 10]),
    fc.tuple(fc.constant(2), fc.constant(4), byte, byte),
    fc.array(byte, { maxLength: 12 }),
  );
  const options = fc.array(option, { maxLength: 10 }).map((parts) => parts.flat().slice(0, 40));
  fc.assert(
    fc.property(options, fc.integer({ min: 1, max: 0xffff }), fc.boolean(), (raw, mss, isIpv6) => {
      const bytes = new Uint8Array(Math.ceil(raw.length / 4) * 4);
      bytes.set(raw);
      const fields: NatFields = {
        protocol: 'tcp',
        source: isIpv6 ? 'fd00::1' : '10.0.0.1',
        destination: isIpv6 ? 'fd00::2' : '10.0.0.2',
        sourcePort: 1,
        destinationPort: 2,
        flags: 0x02,
        options: bytes,
        payload: pattern(7),
        offload: 'full',
      };
      const laid = lay(fields, natPacket(fields));
      const hasChanged = clampMss(laid.view, laid.packet, mss);
      const at = laid.packet.transportAt + 20;
      const options = laid.arena.slice(at, at + bytes.length);
      expect(laid.bytes()).toEqual(natPacket({ ...fields, options }));
      const parsed = new TcpOptions();
      parsed.parse(laid.view, laid.packet.transportAt);
      expect(parsed.mss).toBeLessThanOrEqual(mss);
      expect(hasChanged).toBe(!Bun.deepEquals(options, bytes));
    }),
    { numRuns: 2_000 },
  );
});

test('whatever an error quotes, only its own bytes change and its checksum stays right', () => {
  fc.assert(
    fc.property(mutatedPacket(), fc.boolean(), fc.nat(1000), (quoted, isQuotedReply, seed) => {
      const isIpv6 = (quoted[0] ?? 0) >>> 4 === 6;
      const error = icmpPacket({
        source: isIpv6 ? 'fd00::1' : '10.0.0.1',
        destination: isIpv6 ? 'fd00::2' : '10.0.0.2',
        type: 3,
        payload: quoted,
      });
      const around = pattern(64);
      const row = pattern(FLOW_ROW_BYTES, seed);
      const arena = concat([around, error, around, row]);
      const view = viewOf(arena);
      const packet = errorPacket(error, around.length);
      const quote = newPacket();
      if (!readQuote(view, packet, quote)) return;
      const { ipAt, end, transportAt, sourceAt } = packet;
      translateError(view, packet, quote, end + around.length, isQuotedReply);
      expect(arena.slice(0, ipAt)).toEqual(around);
      expect(arena.slice(end)).toEqual(concat([around, row]));
      const message = arena.slice(transportAt, end);
      const tail = new Uint8Array(8);
      viewOf(tail).setUint32(0, message.length);
      tail[7] = 58;
      const pseudo = isIpv6 ? [arena.slice(sourceAt, transportAt), tail] : [];
      expect(referenceChecksum(concat([...pseudo, message]))).toBe(0);
      if (!isIpv6) expect(referenceChecksum(arena.slice(ipAt, transportAt))).toBe(0);
    }),
    { numRuns: 2_000 },
  );
});
