import { describe, expect, test } from 'bun:test';
import { FlowField } from '../../../src/stack/flow-row.ts';
import { readQuote, translateError } from '../../../src/stack/nat/translate-error.ts';
import {
  addressOf,
  errorPacket,
  type NatFields,
  natPacket,
  newPacket,
} from '../../support/nat-packet.ts';
import { allocatedTypes } from '../../support/no-alloc.ts';
import { concat, hex, icmpPacket, pattern, viewOf } from '../../support/packet-builder.ts';
import { withPcap } from '../../support/pcap.ts';

/** An address and a port. */
type End = readonly [address: string, port: number];

/** client → destination became natSource → upstream; router stands behind either side. */
interface Flow {
  readonly client: End;
  readonly destination: End;
  readonly natSource: End;
  readonly upstream: End;
  readonly router: string;
}

const V4: Flow = {
  client: ['10.0.0.1', 40_000],
  destination: ['198.51.100.1', 80],
  natSource: ['192.0.2.7', 50_000],
  upstream: ['203.0.113.9', 8080],
  router: '172.16.0.1',
};
const V6: Flow = {
  client: ['fd00::1', 40_000],
  destination: ['2001:db8::1', 80],
  natSource: ['2001:db8:7::7', 50_000],
  upstream: ['2001:db8:9::9', 8080],
  router: 'fd16::1',
};
/** Tracked only: nothing is rewritten. */
const UNCHANGED: Flow = { ...V4, natSource: V4.client, upstream: V4.destination };

const ROW_AT = 0;
const ERROR_AT = 256;

/** The row of `flow` and, behind it, the error. */
function layError(flow: Flow, error: Uint8Array) {
  const arena = concat([new Uint8Array(ERROR_AT), error, pattern(64)]);
  const view = viewOf(arena);
  const put = ([address, port]: End, field: number, portField: number) => {
    arena.set(addressOf(address), ROW_AT + field);
    view.setUint16(ROW_AT + portField, port, true);
  };
  put(flow.client, FlowField.SOURCE, FlowField.SOURCE_PORT);
  put(flow.destination, FlowField.DESTINATION, FlowField.DESTINATION_PORT);
  put(flow.natSource, FlowField.NAT_SOURCE, FlowField.NAT_SOURCE_PORT);
  put(flow.upstream, FlowField.UPSTREAM, FlowField.UPSTREAM_PORT);
  const packet = errorPacket(error, ERROR_AT);
  return { arena, view, packet, bytes: () => arena.slice(ERROR_AT, ERROR_AT + error.length) };
}

type Protocol = NatFields['protocol'];

/** The packet of a flow of this protocol between two ends, of which `quoted` bytes are kept. */
function quoteOf(
  protocol: Protocol,
  [source, sourcePort]: End,
  [destination, destinationPort]: End,
  quoted: number,
  more: Partial<NatFields> = {},
): Uint8Array {
  const packet = natPacket({
    protocol,
    source,
    destination,
    sourcePort,
    destinationPort,
    payload: pattern(600),
    offload: 'full',
    ...more,
  });
  return packet.slice(0, quoted);
}

const errorOf = (source: string, destination: string, payload: Uint8Array, isTooBig = false) => {
  const isIpv6 = source.includes(':');
  return isTooBig
    ? icmpPacket({ source, destination, type: isIpv6 ? 2 : 3, code: 4, rest: 1280, payload })
    : icmpPacket({ source, destination, type: isIpv6 ? 3 : 11, payload });
};

/** Translates an error, and compares it with the one that its reader should get. */
function expectTranslated(
  flow: Flow,
  error: Uint8Array<ArrayBuffer>,
  isQuotedReply: boolean,
  expected: Uint8Array<ArrayBuffer>,
): void {
  const laid = layError(flow, error);
  const quote = newPacket();
  expect(readQuote(laid.view, laid.packet, quote)).toBe(true);
  translateError(laid.view, laid.packet, quote, ROW_AT, isQuotedReply);
  withPcap('translate-error', [error, laid.bytes(), expected], () => {
    expect(laid.bytes()).toEqual(expected);
  });
  expect(laid.arena.slice(ERROR_AT + error.length)).toEqual(pattern(64));
}

const PROTOCOLS: Protocol[] = ['tcp', 'udp', 'udp-lite', 'dccp', 'sctp', 'gre'];
const FLOWS = [
  ['IPv4', V4, 20],
  ['IPv6', V6, 40],
] as const;

/** Ports are rewritten where the flow has any. */
const portless = ({ client, natSource, destination, upstream, router }: Flow): Flow => ({
  router,
  client,
  destination,
  natSource: [natSource[0], client[1]],
  upstream: [upstream[0], destination[1]],
});

for (const [family, flow, header] of FLOWS) {
  describe(`${family}: an error about the original direction`, () => {
    for (const protocol of PROTOCOLS) {
      const ends = protocol === 'tcp' || protocol === 'udp' ? flow : portless(flow);
      const { client, destination, natSource, upstream, router } = ends;
      // The least that RFC 792 wants; an odd place behind ports; up to a checksum; and all.
      for (const quoted of [8, 13, 16, 18, 200, 600]) {
        test(`quotes ${quoted} bytes of ${protocol}`, () => {
          expectTranslated(
            ends,
            errorOf(router, natSource[0], quoteOf(protocol, natSource, upstream, header + quoted)),
            false,
            errorOf(router, client[0], quoteOf(protocol, client, destination, header + quoted)),
          );
        });
      }
    }

    test('from the upstream itself comes from where the client went', () => {
      const { client, destination, natSource, upstream } = flow;
      expectTranslated(
        flow,
        errorOf(upstream[0], natSource[0], quoteOf('udp', natSource, upstream, 100), true),
        false,
        errorOf(destination[0], client[0], quoteOf('udp', client, destination, 100), true),
      );
    });

    test('quotes an echo request with its identifier', () => {
      const { client, destination, natSource, upstream, router } = flow;
      expectTranslated(
        flow,
        errorOf(router, natSource[0], quoteOf('echo-request', natSource, upstream, 84)),
        false,
        errorOf(router, client[0], quoteOf('echo-request', client, destination, 84)),
      );
    });
  });

  describe(`${family}: an error about the reply direction`, () => {
    for (const protocol of PROTOCOLS) {
      test(`quotes ${protocol}, and its sender takes the address of the gateway`, () => {
        const ends = protocol === 'tcp' || protocol === 'udp' ? flow : portless(flow);
        const { client, destination, natSource, upstream, router } = ends;
        expectTranslated(
          ends,
          errorOf(router, destination[0], quoteOf(protocol, destination, client, 548)),
          true,
          errorOf(natSource[0], upstream[0], quoteOf(protocol, upstream, natSource, 548)),
        );
      });
    }

    test('quotes an echo reply with its identifier', () => {
      const { client, destination, natSource, upstream } = flow;
      expectTranslated(
        flow,
        errorOf(client[0], destination[0], quoteOf('echo-reply', destination, client, 84)),
        true,
        errorOf(natSource[0], upstream[0], quoteOf('echo-reply', upstream, natSource, 84)),
      );
    });
  });
}

test.each([false, true])('nothing changes of a flow without NAT (reply: %p)', (isReply) => {
  const { client, destination, router } = UNCHANGED;
  const [from, to] = isReply ? [destination, client] : [client, destination];
  const error = errorOf(router, from[0], quoteOf('tcp', from, to, 100));
  expectTranslated(UNCHANGED, error, isReply, error);
});

test('IPv4 options and IPv6 extension headers are stepped over, also those of a fragment', () => {
  const more4 = { extra: hex('01010101'), fragmentWord: 0x2000 };
  // Destination options, then a fragment header: offset 0, more to come.
  const more6 = { extensionHeader: 60, extra: hex('2c00010400000000 1100000100000007') };
  for (const [flow, more] of [
    [V4, more4],
    [V6, more6],
  ] as const) {
    const { client, destination, natSource, upstream, router } = flow;
    expectTranslated(
      flow,
      errorOf(router, natSource[0], quoteOf('udp', natSource, upstream, 90, more)),
      false,
      errorOf(router, client[0], quoteOf('udp', client, destination, 90, more)),
    );
  }
});

test('a quoted datagram without a checksum stays without', () => {
  const { client, destination, natSource, upstream, router } = V4;
  const more = { offload: 'none' } as const;
  expectTranslated(
    V4,
    errorOf(router, natSource[0], quoteOf('udp', natSource, upstream, 90, more)),
    false,
    errorOf(router, client[0], quoteOf('udp', client, destination, 90, more)),
  );
});

test('the padding and the extensions of RFC 4884 stay', () => {
  const { client, destination, natSource, upstream, router } = V4;
  const short = { payload: new Uint8Array(1) };
  const extensions = concat([new Uint8Array(128 - 29), hex('2000abcd 00080101 00012345')]);
  const quote = (from: End, to: End) => concat([quoteOf('udp', from, to, 128, short), extensions]);
  expectTranslated(
    V4,
    errorOf(router, natSource[0], quote(natSource, upstream)),
    false,
    errorOf(router, client[0], quote(client, destination)),
  );
});

test('of a partial ICMPv6 checksum only the pseudo header counts', () => {
  const { natSource, upstream, router } = V6;
  const laid = layError(V6, errorOf(router, natSource[0], quoteOf('tcp', natSource, upstream, 48)));
  laid.packet.isPartial = true;
  const quote = newPacket();
  readQuote(laid.view, laid.packet, quote);
  const checksumAt = laid.packet.transportAt + 2;
  const source = laid.view.getUint16(laid.packet.destinationAt);
  laid.view.setUint16(checksumAt, 0x1000);
  translateError(laid.view, laid.packet, quote, ROW_AT, false);
  // 2001:db8:7::7 has become fd00::1.
  expect(source).toBe(0x2001);
  const change = 0xfd00 + 1 - (0x2001 + 0xdb8 + 7 + 7);
  expect(laid.view.getUint16(checksumAt)).toBe((0x1000 + change) % 0xffff);
});

describe('readQuote', () => {
  test.each<[string, Protocol, number, number]>([
    ['tcp', 'tcp', 40_000, 80],
    ['udp', 'udp', 40_000, 80],
    ['an echo request', 'echo-request', 40_000, 0],
    ['an echo reply', 'echo-reply', 0, 80],
    ['gre', 'gre', 0, 0],
    ['dccp', 'dccp', 0, 0],
  ])('reads the tuple of %s', (_name, protocol, sourcePort, destinationPort) => {
    for (const flow of [V4, V6]) {
      const { client, destination, router } = flow;
      const laid = layError(
        flow,
        errorOf(router, client[0], quoteOf(protocol, client, destination, 60)),
      );
      const quote = newPacket();
      expect(readQuote(laid.view, laid.packet, quote)).toBe(true);
      expect([quote.sourcePort, quote.destinationPort]).toEqual([sourcePort, destinationPort]);
      const length = quote.addressLength;
      expect(laid.arena.slice(quote.sourceAt, quote.sourceAt + length)).toEqual(
        addressOf(client[0]) as Uint8Array<ArrayBuffer>,
      );
      expect(quote.end).toBe(laid.packet.end);
      expect(quote.hopLimit).toBe(64);
    }
  });

  /** Whether an error with this quote is of use. */
  const isRead = (quoted: Uint8Array): boolean => {
    const isIpv4 = quoted.length === 0 || quoted[0]! >>> 4 !== 6;
    const flow = isIpv4 ? V4 : V6;
    const laid = layError(flow, errorOf(flow.router, flow.client[0], quoted));
    return readQuote(laid.view, laid.packet, newPacket());
  };

  test.each([
    ['IPv4', V4, 20],
    ['IPv6', V6, 40],
  ])('refuses what is too short to tell the ports: %s', (_name, flow, header) => {
    const quoted = (protocol: Protocol, length: number) =>
      isRead(quoteOf(protocol, flow.client, flow.destination, length));
    expect(quoted('tcp', header + 8)).toBe(true);
    for (let length = flow === V4 ? 0 : 1; length < header + 8; length++) {
      expect(quoted('tcp', length)).toBe(false);
      expect(quoted('gre', length)).toBe(length >= header);
    }
  });

  test('refuses later fragments, and headers that are none', () => {
    const { client, destination } = V4;
    const ipv4Quote = quoteOf('udp', client, destination, 60);
    expect(isRead(ipv4Quote.with(7, 1) as Uint8Array)).toBe(false);
    expect(isRead(ipv4Quote.with(0, 0x44) as Uint8Array)).toBe(false);
    expect(isRead(ipv4Quote.with(0, 0x4f) as Uint8Array)).toBe(false);
    expect(isRead(ipv4Quote.with(0, 0x55) as Uint8Array)).toBe(false);
    // Its own length says that there are no ports.
    expect(isRead(ipv4Quote.with(2, 0).with(3, 24) as Uint8Array)).toBe(false);
    expect(isRead(ipv4Quote.with(2, 0).with(3, 0) as Uint8Array)).toBe(false);
    const gre = quoteOf('gre', client, destination, 40);
    expect(isRead(gre.with(0, 0x4f) as Uint8Array)).toBe(false);
    const ipv6Quote = quoteOf('udp', V6.client, V6.destination, 60);
    expect(isRead(ipv6Quote.with(4, 0).with(5, 7) as Uint8Array)).toBe(false);
    const later = { extensionHeader: 44, extra: hex('1100000900000007') };
    expect(isRead(quoteOf('udp', V6.client, V6.destination, 90, later))).toBe(false);
    const cut = { extensionHeader: 60, extra: hex('11ff010400000000') };
    expect(isRead(quoteOf('udp', V6.client, V6.destination, 90, cut))).toBe(false);
  });

  test('refuses the other family', () => {
    const quotes = {
      4: quoteOf('udp', V4.client, V4.destination, 90),
      6: quoteOf('udp', V6.client, V6.destination, 90),
    };
    for (const [flow, quoted] of [
      [V4, quotes[6]],
      [V6, quotes[4]],
    ] as const) {
      const laid = layError(flow, errorOf(flow.router, flow.client[0], quoted));
      expect(readQuote(laid.view, laid.packet, newPacket())).toBe(false);
    }
  });
});

test('reading and translating allocate nothing', () => {
  const { natSource, upstream, router } = V6;
  const laid = layError(
    V6,
    errorOf(router, natSource[0], quoteOf('tcp', natSource, upstream, 200)),
  );
  const quote = newPacket();
  expect(
    allocatedTypes((call) => {
      readQuote(laid.view, laid.packet, quote);
      translateError(laid.view, laid.packet, quote, ROW_AT, (call & 1) === 1);
    }),
  ).toEqual([]);
});
