import { describe, expect, test } from 'bun:test';
import { monotonicNow } from '../../../../src/ffi/clock.ts';
import { DropReason } from '../../../../src/stack/drop-reason.ts';
import { ip as ipCommand, isRoot, NetworkNamespace } from '../../../ffi/support/namespace.ts';
import { RouterNamespace } from '../../../support/router-namespace.ts';
import { SessionRig, UdpUpstream } from '../../../support/session-rig.ts';

const CLOSED_PORT = 9;
const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

describe.each(['127.0.0.1', '::1'])('errors of an upstream at %s', (ip) => {
  test('a closed port is told to the client, with the datagram', async () => {
    using rig = new SessionRig();
    const row = rig.start({ ip, port: CLOSED_PORT });
    rig.send(row, 'hello');
    await rig.until(() => rig.errors.length > 0);
    expect(rig.errors).toEqual(['PORT from the destination about 5']);
    expect(rig.quoted).toEqual([encode('hello')]);
    expect(rig.ended).toEqual([]);
  });

  test('every refused datagram is told of, and an error costs no later datagram', async () => {
    using rig = new SessionRig();
    const upstream = await UdpUpstream.open(ip);
    const { port } = upstream;
    const row = rig.start({ ip, port });
    upstream.close();
    await Bun.sleep(10);
    rig.send(row, 'one');
    rig.sessions.finishTurn(monotonicNow());
    rig.send(row, 'two');
    rig.sessions.finishTurn(monotonicNow());
    using again = await UdpUpstream.open(ip, port);
    rig.send(row, 'three');
    rig.send(row, 'four');
    await rig.until(() => again.texts.length === 2 && rig.errors.length === 2);
    expect(again.texts).toEqual(['three', 'four']);
    expect(rig.quoted).toEqual([encode('one'), encode('two')]);
  });

  test('an error that finds no room costs none of the datagrams that wait', async () => {
    const upstream = await UdpUpstream.open(ip);
    using rig = new SessionRig();
    const row = rig.start({ ip, port: upstream.port });
    rig.send(row, 'hello');
    await rig.until(() => upstream.texts.length === 1);
    // More than the receive buffer takes, where the error would stand, too.
    for (let i = 0; i < 20_000; i++) upstream.reply('x');
    upstream.close();
    await Bun.sleep(5);
    rig.send(row, 'nobody is there');
    rig.sessions.finishTurn(monotonicNow());
    await Bun.sleep(5);
    rig.isQuiet = true;
    await rig.until(() => rig.sentBytes >= 1000);
  });

  test.skipIf(!isRoot)('a datagram beyond the MTU is told of, or cut where it may be', async () => {
    using _namespace = new NetworkNamespace();
    ipCommand('link', 'set', 'lo', 'mtu', '1400');
    using upstream = await UdpUpstream.open(ip);
    using rig = new SessionRig();
    const row = rig.start({ ip, port: upstream.port });
    rig.send(row, new Uint8Array(2000));
    rig.turn();
    expect(rig.errors).toEqual(['TOO_BIG 1400 from the gateway about 2000']);
    expect(rig.counters.dropped(DropReason.PACKET_TOO_BIG)).toBe(1);
    rig.send(row, new Uint8Array(2000), { mayFragment: true });
    await rig.until(() => upstream.lengths.length === 1);
    // What is longer than an IPv6 client was told to send came in fragments.
    rig.send(row, new Uint8Array(2001));
    await Bun.sleep(10);
    rig.turn();
    expect(rig.errors).toHaveLength(ip === '::1' ? 1 : 2);
    await rig.until(() => upstream.lengths.length === (ip === '::1' ? 2 : 1));
  });

  test.skipIf(!isRoot)('datagrams that are gathered and too long are told of each', async () => {
    using _namespace = new NetworkNamespace();
    ipCommand('link', 'set', 'lo', 'mtu', '1400');
    using upstream = await UdpUpstream.open(ip);
    using rig = new SessionRig();
    const row = rig.start({ ip, port: upstream.port });
    for (let i = 0; i < 3; i++) rig.send(row, new Uint8Array(1500));
    rig.send(row, new Uint8Array(1000));
    await rig.until(() => upstream.lengths.length === 1);
    expect(upstream.lengths).toEqual([1000]);
    expect(rig.errors[0]).toBe('TOO_BIG 1400 from the gateway about 1500');
    expect(rig.counters.dropped(DropReason.PACKET_TOO_BIG)).toBe(3);
  });
});

describe.skipIf(!isRoot)('without a route', () => {
  test('the flow is refused, and one that is open is told', () => {
    using _namespace = new NetworkNamespace();
    ipCommand('link', 'add', 'veth0', 'type', 'veth', 'peer', 'name', 'veth1');
    ipCommand('link', 'set', 'veth0', 'up');
    ipCommand('link', 'set', 'veth1', 'up');
    ipCommand('address', 'add', '10.1.0.1/24', 'dev', 'veth0');
    using rig = new SessionRig();
    const row = rig.start({ ip: '10.1.0.9', port: 5 });
    rig.start({ ip: '10.2.0.9', port: 5 });
    expect(rig.ended).toEqual(['1 dial-unreachable']);
    expect(rig.errors).toEqual(['NETWORK refuses']);
    ipCommand('route', 'add', 'prohibit', '10.1.0.9/32');
    rig.send(row, 'xx');
    rig.turn();
    ipCommand('route', 'del', 'prohibit', '10.1.0.9/32');
    ipCommand('link', 'del', 'veth0');
    rig.send(row, 'x');
    rig.turn();
    expect(rig.errors).toEqual([
      'NETWORK refuses',
      'PROHIBITED from the gateway about 2',
      'NETWORK from the gateway about 1',
    ]);
    expect(rig.counters.dropped(DropReason.UPSTREAM_SEND_FAILED)).toBe(2);
  });
});

describe.skipIf(!isRoot).each([
  ['10.77.0.2', '10.78.0.9', '10.99.0.9'],
  ['fd77::2', 'fd78::9', 'fd99::9'],
])('a router at %s', (router, behindSmall, nowhere) => {
  const family = router.includes(':') ? 6 : 4;
  const headers = family === 4 ? 28 : 48;

  test('is seen by a client whose datagrams have few hops to go', async () => {
    using _namespace = new RouterNamespace();
    using rig = new SessionRig();
    const row = rig.start({ ip: behindSmall, port: 33_434 });
    rig.send(row, 'probe', { hopLimit: 2 });
    await rig.until(() => rig.errors.length === 1);
    expect(rig.errors).toEqual([`HOP_LIMIT from ${router} about 5`]);
    expect(rig.quoted).toEqual([encode('probe')]);
  });

  test('says that it knows no way', async () => {
    using _namespace = new RouterNamespace();
    using rig = new SessionRig();
    rig.send(rig.start({ ip: nowhere, port: 5 }), 'x');
    await rig.until(() => rig.errors.length === 1);
    expect(rig.errors).toEqual([`NETWORK from ${router} about 1`]);
  });

  test('tells how long a packet may be, and from then on our kernel does', async () => {
    using _namespace = new RouterNamespace();
    using rig = new SessionRig();
    const row = rig.start({ ip: behindSmall, port: 5 });
    rig.send(row, new Uint8Array(1400));
    await rig.until(() => rig.errors.length === 1);
    expect(rig.errors[0]).toStartWith(`TOO_BIG 1300 from ${router} about `);
    const other = rig.start({ ip: behindSmall, port: 5 });
    rig.send(other, new Uint8Array(1400));
    rig.turn();
    expect(rig.errors[1]).toBe('TOO_BIG 1300 from the gateway about 1400');
    rig.send(other, new Uint8Array(1300 - headers));
    rig.turn();
    expect(rig.errors).toHaveLength(2);
  });

  test('of another family is not named, and its MTU is that of the client', async () => {
    using _namespace = new RouterNamespace();
    using rig = new SessionRig();
    const row = rig.start({ ip: behindSmall, port: 5, family: family === 4 ? 6 : 4 });
    rig.send(row, new Uint8Array(1400));
    await rig.until(() => rig.errors.length === 1);
    const mtu = family === 4 ? 1320 : 1280;
    expect(rig.errors[0]).toStartWith(`TOO_BIG ${mtu} from the destination about `);
  });
});
