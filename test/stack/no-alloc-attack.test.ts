/** What an attacker can send at will makes no object either. */
import { expect, setDefaultTimeout, test } from 'bun:test';
import { Counter } from '../../src/stack/counters.ts';
import { fragmentsOf } from '../support/fragments.ts';
import { allocatedTypes } from '../support/no-alloc.ts';
import { icmpPacket, pattern, tcpPacket } from '../support/packet-builder.ts';
import { SynFlood } from '../support/syn-flood.ts';
import { TcpRig } from '../support/tcp-rig.ts';

// Each test makes 22,000 calls, which takes its time on a busy machine.
setDefaultTimeout(60_000);

const RST = 0x04;

/** A stack whose device takes nothing: the device of tests would keep what it takes. */
function deafRig(synCookiesFrom = 0): TcpRig {
  const rig = new TcpRig({ limits: { synCookiesFrom } });
  rig.device.isRefusing = true;
  return rig;
}

function ingest({ stack, now }: TcpRig, frame: Uint8Array): void {
  stack.arena.bytes.set(frame, stack.frameAt);
  stack.ingest(stack.frameAt, frame.length, now);
}

test('a SYN that is answered with a cookie allocates nothing', () => {
  const rig = deafRig();
  const attack = new SynFlood('198.18.0.80', 443);
  expect(allocatedTypes(() => ingest(rig, attack.next()))).toEqual([]);
  expect(rig.counters.get(Counter.SYN_COOKIES_SENT)).toBe(22_000);
});

test('an ACK with a wrong cookie, and its reset, allocate nothing', () => {
  const rig = deafRig();
  ingest(rig, new SynFlood('198.18.0.80', 443).next());
  const frame = rig.device.incoming(tcpPacket({ source: '198.18.0.9', ack: 77 }));
  expect(allocatedTypes(() => ingest(rig, frame))).toEqual([]);
  expect(rig.counters.get(Counter.SYN_COOKIES_FAILED)).toBe(22_000);
});

for (const family of [4, 6] as const) {
  const ends =
    family === 4
      ? { source: '198.18.0.9', destination: '198.18.0.80' }
      : { source: 'fd00::9', destination: 'fd00::80' };

  test(`IPv${family}: a packet in three fragments allocates nothing`, () => {
    const rig = deafRig();
    const packet = tcpPacket({ ...ends, flags: RST, payload: pattern(3000) });
    const frames = fragmentsOf(packet, 1200).map((fragment) => rig.device.incoming(fragment));
    const allocated = allocatedTypes(() => {
      for (const frame of frames) ingest(rig, frame);
    });
    expect(allocated).toEqual([]);
    expect(rig.counters.get(Counter.PACKETS_REASSEMBLED)).toBe(22_000);
  });

  test(`IPv${family}: an ICMP error about no flow allocates nothing`, () => {
    const rig = deafRig();
    const quoted = tcpPacket({ source: ends.destination, destination: ends.source });
    const type = family === 4 ? 3 : 1;
    const frame = rig.device.incoming(icmpPacket({ ...ends, type, payload: quoted }));
    expect(allocatedTypes(() => ingest(rig, frame))).toEqual([]);
    expect(rig.drops['icmp-unmatched']).toBe(22_000);
  });
}
