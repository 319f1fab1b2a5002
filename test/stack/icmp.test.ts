/** Echo to the gateway's own addresses. Errors are in forwarder.test.ts. */
import { expect, test } from 'bun:test';
import { Counter } from '../../src/stack/counters.ts';
import { fragmentsOf } from '../support/fragments.ts';
import { FULL_OFFLOAD, NO_OFFLOAD } from '../support/memory-device.ts';
import { concat, icmpPacket, pattern } from '../support/packet-builder.ts';
import { withPcap } from '../support/pcap.ts';
import { TcpRig } from '../support/tcp-rig.ts';

const FAMILIES = [
  { source: '198.18.0.9', destination: '198.18.0.1', request: 8, reply: 0 },
  { source: 'fd00::9', destination: 'fd00::1', request: 128, reply: 129 },
] as const;

for (const { source, destination, request, reply } of FAMILIES) {
  const name = request === 8 ? 'IPv4' : 'IPv6';
  const local = ['198.18.0.1', 'fd00::1'];
  const echo = (fields = {}) =>
    icmpPacket({ source, destination, type: request, rest: 0x1234_0001, ...fields });

  for (const capabilities of [FULL_OFFLOAD, NO_OFFLOAD]) {
    const frame = capabilities.vnetHeader ? 'with' : 'without';
    test(`${name}: an echo to our address comes back as it was, ${frame} a vnet header`, () => {
      const rig = new TcpRig({ capabilities });
      rig.stack.setLocalAddresses(local);
      for (const length of [0, 1, 56, 1400]) {
        const payload = pattern(length);
        rig.deliver(echo({ payload }));
        const packet = rig.frames.shift()?.packet ?? new Uint8Array(0);
        const expected = icmpPacket({
          source: destination,
          destination: source,
          type: reply,
          rest: 0x1234_0001,
          payload,
        });
        withPcap('echo', [packet, expected], () => {
          expect(packet).toEqual(expected);
        });
      }
      expect(rig.counters.get(Counter.ICMP_ECHO_REPLIES)).toBe(4);
    });
  }

  test(`${name}: an echo that came in fragments is answered in fragments`, () => {
    const rig = new TcpRig();
    rig.stack.setLocalAddresses(local);
    // 65,507 is what `ping -s` may ask for at most.
    for (const length of [1473, 4000, 9001, 65_507]) {
      const payload = pattern(length);
      for (const fragment of fragmentsOf(echo({ payload }), 1440, length)) rig.deliver(fragment);
      const frames = rig.frames.splice(0).map(({ packet }) => packet);
      expect(frames.length).toBeGreaterThan(1);
      for (const packet of frames) expect(packet.length).toBeLessThanOrEqual(1500);
      const client = new TcpRig();
      for (const packet of frames) client.deliver(packet);
      expect(client.drops).toEqual({ 'icmp-not-for-us': 1 });
      const headers = request === 8 ? 20 : 48;
      const whole = icmpPacket({
        source: destination,
        destination: source,
        type: reply,
        rest: 0x1234_0001,
        payload,
      });
      const bodies = frames.map((packet) => packet.subarray(headers));
      expect(concat(bodies)).toEqual(whole.slice(request === 8 ? 20 : 40));
    }
    expect(rig.drops).toEqual({});
  });

  test(`${name}: an echo to another address is not answered, but a flow that waits`, () => {
    const rig = new TcpRig();
    rig.stack.setLocalAddresses(local);
    rig.deliver(echo({ destination: destination.replace(/1$/, '2') }));
    expect(rig.owner.flows).toHaveLength(1);
    expect(rig.frames).toEqual([]);
  });

  test(`${name}: replies and errors are not answered`, () => {
    const rig = new TcpRig();
    rig.stack.setLocalAddresses(local);
    for (const type of [reply, request === 8 ? 3 : 1, request === 8 ? 11 : 3]) {
      rig.deliver(echo({ type }));
    }
    expect(rig.drops).toEqual({ 'bad-icmp-quote': 2, 'icmp-not-for-us': 1 });
  });

  test(`${name}: a message with a wrong checksum is dropped`, () => {
    const rig = new TcpRig();
    rig.stack.setLocalAddresses(local);
    const packet = echo({ payload: pattern(8) });
    packet[packet.length - 1]! ^= 1;
    rig.deliver(packet);
    expect(rig.drops).toEqual({ 'bad-icmp-checksum': 1 });
  });

  test(`${name}: a flood of echoes is answered fifty times, and then 1,000 times a second`, () => {
    const rig = new TcpRig();
    rig.stack.setLocalAddresses(local);
    for (let i = 0; i < 80; i++) rig.deliver(echo());
    expect(rig.frames).toHaveLength(50);
    rig.clock.advance(10_000);
    for (let i = 0; i < 80; i++) rig.deliver(echo());
    expect(rig.frames).toHaveLength(60);
    expect(rig.drops).toEqual({ 'echo-rate-limit': 100 });
  });
}

test('addresses that change while the gateway runs are the ones that answer', () => {
  const rig = new TcpRig();
  const echo = icmpPacket({ source: '198.18.0.9', destination: '198.18.0.1', type: 8 });
  rig.deliver(echo);
  rig.stack.setLocalAddresses(['198.18.0.1']);
  rig.deliver(echo);
  rig.stack.setLocalAddresses([]);
  rig.deliver(echo);
  expect(rig.frames).toHaveLength(1);
});
