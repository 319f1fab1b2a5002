/** Properties of the wire formats: round trips, incremental equals full, any bytes are answered. */
import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { DROP_REASON_COUNT, DropReason } from '../../src/stack/drop-reason.ts';
import { adjust, checksum } from '../../src/stack/wire/checksum.ts';
import * as icmpv4 from '../../src/stack/wire/icmpv4.ts';
import * as icmpv6 from '../../src/stack/wire/icmpv6.ts';
import { formatAddress, matchesPrefix, parseAddress } from '../../src/stack/wire/ip-address.ts';
import * as ipv4 from '../../src/stack/wire/ipv4.ts';
import * as ipv6 from '../../src/stack/wire/ipv6.ts';
import { describePacket } from '../../src/stack/wire/pretty.ts';
import { asSeq, seqAdd, seqDiff, seqInWindow, seqLt } from '../../src/stack/wire/seq.ts';
import * as tcp from '../../src/stack/wire/tcp.ts';
import { emitSynOptions, SACK_BLOCK_BYTES, TcpOptions } from '../../src/stack/wire/tcp-options.ts';
import * as udp from '../../src/stack/wire/udp.ts';
import * as vnet from '../../src/stack/wire/virtio-net.ts';
import { mutatedPacket } from '../support/mutated-packet.ts';
import { concat, referenceChecksum, tcpPacket, viewOf } from '../support/packet-builder.ts';

const RUNS = { numRuns: 2_000 };
const byte = fc.nat(0xff);
const word = fc.nat(0xffff);
const uint32 = fc.nat(0xffffffff);
const ipv4Bytes = fc.uint8Array({ minLength: 4, maxLength: 4 });
/** Zero bytes are frequent, so that runs of zero groups are. */
const ipv6Bytes = fc
  .array(fc.oneof(fc.constant(0), byte), { minLength: 16, maxLength: 16 })
  .map((bytes) => Uint8Array.from(bytes));

test('checksum equals the loop of RFC 1071 on any bytes, wherever they are cut in two', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(150), (bytes, half) => {
      const cut = Math.min(half * 2, bytes.length & ~1);
      const view = viewOf(bytes);
      const expected = referenceChecksum(bytes);
      expect(checksum(view, 0, bytes.length)).toBe(expected);
      const tail = ~checksum(view, cut, bytes.length - cut) & 0xffff;
      expect(checksum(view, 0, cut, tail)).toBe(expected);
    }),
    RUNS,
  );
});

test('an adjusted checksum equals one that is computed anew', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 4, maxLength: 64 }),
      word,
      word,
      (bytes, index, next) => {
        const at = (index % (bytes.length >>> 1)) * 2;
        // The field makes the sum nonzero, as a protocol number or a length does in every packet:
        // for all-zero bytes RFC 1624 gives the other zero.
        const view = viewOf(concat([bytes, Uint8Array.of(0, 6)].map((part) => pad(part))));
        const before = checksum(view, 0, view.byteLength);
        const old = view.getUint16(at);
        view.setUint16(at, next);
        expect(adjust(before, old, next)).toBe(checksum(view, 0, view.byteLength));
      },
    ),
    RUNS,
  );
});

test('an address survives the way through its text', () => {
  fc.assert(
    fc.property(fc.oneof(ipv4Bytes, ipv6Bytes), (bytes) => {
      const text = formatAddress(viewOf(bytes), 0, bytes.length);
      expect(parseAddress(text)).toEqual(Uint8Array.from(bytes));
      expect(text).not.toMatch(/:::|[A-Z]|(^|:)0[0-9a-f]/);
    }),
    RUNS,
  );
});

test('any text is an address or is refused', () => {
  const text = fc.string({ unit: fc.constantFrom(...'0123456789abcdef:.%/ -x') });
  fc.assert(
    fc.property(text, (candidate) => {
      const bytes = parseAddress(candidate);
      expect([undefined, 4, 16]).toContain(bytes?.length);
    }),
    RUNS,
  );
});

test('a prefix matches what agrees with it in exactly its bits', () => {
  fc.assert(
    fc.property(ipv6Bytes, fc.nat(128), fc.nat(127), (bytes, prefixLength, bit) => {
      const other = Uint8Array.from(bytes);
      other[bit >>> 3] = (other[bit >>> 3] ?? 0) ^ (0x80 >>> (bit & 7));
      expect(matchesPrefix(viewOf(bytes), 0, bytes, prefixLength)).toBe(true);
      expect(matchesPrefix(viewOf(other), 0, bytes, prefixLength)).toBe(bit >= prefixLength);
    }),
    RUNS,
  );
});

test('sequence arithmetic is the same wherever on the circle it happens', () => {
  const distance = fc.integer({ min: -0x7fffffff, max: 0x7fffffff });
  fc.assert(
    fc.property(uint32, distance, uint32, (from, by, size) => {
      const start = asSeq(from);
      const moved = seqAdd(start, by);
      expect(seqDiff(moved, start)).toBe(by);
      expect(seqLt(start, moved)).toBe(by > 0);
      expect(seqInWindow(moved, start, size)).toBe((by < 0 ? by + 2 ** 32 : by) < size);
    }),
    RUNS,
  );
});

test('a TCP packet from the emitters is the packet that the builder makes, and passes', () => {
  const ports = fc.tuple(word, word);
  const numbers = fc.tuple(uint32, uint32);
  const flags = byte.filter((bits) => (bits & 0x12) === 0x10);
  const payloadBytes = fc.uint8Array({ maxLength: 100 });
  fc.assert(
    fc.property(ports, numbers, flags, word, byte, payloadBytes, fc.boolean(), (...given) => {
      const [[from, to], [seq, ack], bits, window, trafficClass, payload, isIpv6] = given;
      const [source, destination] = isIpv6 ? ['fd00::1', 'fd00::2'] : ['10.0.0.1', '10.0.0.2'];
      const fields = { source, destination, sourcePort: from, destinationPort: to, seq, ack };
      const built = tcpPacket({ ...fields, flags: bits, window, trafficClass, payload });
      const bytes = concat([new Uint8Array(built.length), built]);
      const view = viewOf(bytes);
      const ipBytes = isIpv6 ? 40 : 20;
      const end = built.length;
      bytes.set(payload, end - payload.length);
      const [sourceAt, destinationAt] = isIpv6 ? [end + 8, end + 24] : [end + 12, end + 16];
      if (isIpv6) {
        const length = end - 40;
        ipv6.emitIpv6Header(view, 0, length, 6, 64, trafficClass, sourceAt, destinationAt);
      } else {
        ipv4.emitIpv4Header(view, 0, end, 6, 64, trafficClass, sourceAt, destinationAt);
      }
      tcp.emitTcpHeader(view, ipBytes, from, to, asSeq(seq), asSeq(ack), 20, bits, window);
      const addressLength = isIpv6 ? 16 : 4;
      tcp.emitTcpChecksum(view, sourceAt, destinationAt, addressLength, ipBytes, end);
      expect(bytes.slice(0, end)).toEqual(built);
      const check = isIpv6 ? ipv6.checkIpv6 : ipv4.checkIpv4;
      expect(check(view, 0, end)).toBe(DropReason.NONE);
      expect(tcp.checkTcp(view, ipBytes, end)).toBe(DropReason.NONE);
    }),
    { numRuns: 500 },
  );
});

test('the options of a SYN read as they were emitted', () => {
  const scale = fc.integer({ min: -1, max: 14 });
  const flag = fc.boolean();
  fc.assert(
    fc.property(
      word,
      scale,
      flag,
      flag,
      uint32,
      uint32,
      (mss, shift, sack, stamps, value, echo) => {
        const bytes = new Uint8Array(40);
        const length = emitSynOptions(viewOf(bytes), 0, mss, shift, sack, stamps, value, echo);
        expect(length % 4).toBe(0);
        const options = new TcpOptions();
        const packet = tcpPacket({ options: bytes.slice(0, length) });
        expect(options.parse(viewOf(packet), 20)).toBe(DropReason.NONE);
        expect(options).toMatchObject({ mss, windowScale: shift, sackPermitted: sack });
        expect(options.hasTimestamps).toBe(stamps);
        expect([options.tsValue, options.tsEcho]).toEqual(stamps ? [value, echo] : [0, 0]);
      },
    ),
    RUNS,
  );
});

test('any soup of option bytes is read inside the header, or refused', () => {
  /** Kinds and lengths that mean something are frequent. */
  const soup = fc.array(fc.oneof(fc.nat(10), byte), { maxLength: 40 });
  fc.assert(
    fc.property(soup, (bytes) => {
      const options = new Uint8Array(Math.ceil(bytes.length / 4) * 4);
      options.set(bytes);
      const packet = tcpPacket({ options });
      const parsed = new TcpOptions();
      const reason = parsed.parse(viewOf(packet), 20);
      expect([DropReason.NONE, DropReason.BAD_TCP_OPTION]).toContain(reason as 0);
      expect(parsed.windowScale).toBeWithin(-1, 15);
      expect(parsed.sackAt + parsed.sackCount * SACK_BLOCK_BYTES).toBeLessThanOrEqual(
        packet.length,
      );
    }),
    RUNS,
  );
});

test('any bytes are answered with a drop reason, never with an exception', () => {
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 120 }), mutatedPacket()), (bytes) => {
      for (const reason of reasonsFor(bytes)) expect(reason).toBeWithin(0, DROP_REASON_COUNT);
      expect(describePacket(viewOf(bytes), 0, bytes.length)).not.toBe('');
    }),
    { numRuns: 5_000 },
  );
});

test('an extension walk that succeeds ends inside the packet', () => {
  const kind = fc.constantFrom(0, 6, 43, 44, 50, 59, 60);
  const chain = fc.array(fc.tuple(kind, fc.nat(2), fc.nat(3)), { maxLength: 10 });
  fc.assert(
    fc.property(kind, chain, (first, headers) => {
      const extra = concat(
        headers.map(([next, units, third]) => {
          const header = new Uint8Array((units + 1) * 8);
          header.set([next, units, third]);
          return header;
        }),
      );
      const addresses = { source: 'fd00::1', destination: 'fd00::2' };
      const packet = tcpPacket({ ...addresses, extensionHeader: first, extra });
      const walk = new ipv6.ExtensionWalk();
      const reason = walk.walk(viewOf(packet), 0, packet.length);
      if (reason !== DropReason.NONE) return;
      expect(walk.transportAt).toBeWithin(40, packet.length + 1);
      expect(walk.isFragment || ![0, 43, 44, 60].includes(walk.protocol)).toBe(true);
    }),
    RUNS,
  );
});

/** What every door check says about the bytes, the transport's wherever they could stand. */
function* reasonsFor(bytes: Uint8Array): Generator<DropReason> {
  const view = viewOf(bytes);
  const end = bytes.length;
  yield vnet.checkVnetHeader(view, 0, end);
  yield ipv4.checkIpv4(view, 0, end);
  const reason = ipv6.checkIpv6(view, 0, end);
  yield reason;
  if (reason === DropReason.NONE)
    yield new ipv6.ExtensionWalk().walk(view, 0, ipv6.ipv6End(view, 0));
  for (const at of [0, 10, 20, 40].filter((position) => position <= end)) {
    const checked = tcp.checkTcp(view, at, end);
    yield checked;
    if (checked === DropReason.NONE) yield new TcpOptions().parse(view, at);
    yield udp.checkUdp(view, at, end);
    yield icmpv4.checkIcmpv4(view, at, end);
    if (end >= 40) yield icmpv6.checkIcmpv6(view, 8, 24, at, end);
  }
}

/** The bytes with a zero behind them if their number is odd. */
function pad(bytes: Uint8Array): Uint8Array {
  return bytes.length % 2 === 0 ? bytes : concat([bytes, new Uint8Array(1)]);
}
