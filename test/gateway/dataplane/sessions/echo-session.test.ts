import { describe, expect, test } from 'bun:test';
import { checksum } from '../../../../src/stack/wire/checksum.ts';
import { Protocol } from '../../../../src/stack/wire/protocol.ts';
import { isRoot } from '../../../ffi/support/namespace.ts';
import { RouterNamespace } from '../../../support/router-namespace.ts';
import { SessionRig } from '../../../support/session-rig.ts';

const CLIENT_IDENTIFIER = 0x4242;
const DATA = [1, 2, 3, 4, 5, 6, 7];

/** An echo request of the client, its checksum right where the family is IPv4. */
function request(family: 4 | 6, sequence: number): Uint8Array {
  const bytes = Uint8Array.of(family === 4 ? 8 : 128, 0, 0, 0, 0, 0, 0, 0, ...DATA);
  const view = new DataView(bytes.buffer);
  view.setUint16(4, CLIENT_IDENTIFIER);
  view.setUint16(6, sequence);
  if (family === 4) view.setUint16(2, checksum(view, 0, bytes.length));
  return bytes;
}

/** Sequence number and data of an echo message. */
const contentOf = (message: Uint8Array | undefined): number[] => [...(message?.subarray(6) ?? [])];

/** Sets who may use ping sockets in the namespace of this thread. */
const setPingGroups = (range: string): void => {
  Bun.spawnSync(['sh', '-c', `echo "${range}" > /proc/sys/net/ipv4/ping_group_range`]);
};

describe.skipIf(!isRoot).each([
  ['ping', 4, '0 1000'],
  ['raw', 4, '1 0'],
  ['ping', 6, '0 1000'],
  ['raw', 6, '1 0'],
] as const)('echoes over a %s socket and IPv%d', (_kind, family, groups) => {
  const protocol = family === 4 ? Protocol.ICMP : Protocol.ICMPV6;
  const router = family === 4 ? '10.77.0.2' : 'fd77::2';
  const behind = family === 4 ? '10.78.0.9' : 'fd78::9';
  const nowhere = family === 4 ? '10.99.0.9' : 'fd99::9';

  test('are answered by the target, each session by its own', async () => {
    using _namespace = new RouterNamespace();
    setPingGroups(groups);
    using rig = new SessionRig();
    const row = rig.start({ ip: router, port: 0, sourcePort: CLIENT_IDENTIFIER, protocol });
    const other = rig.start({ ip: router, port: 0, sourcePort: CLIENT_IDENTIFIER, protocol });
    rig.send(row, request(family, 7));
    await rig.until(() => rig.echoes.length > 0);
    rig.send(other, request(family, 8));
    rig.send(row, request(family, 9));
    await rig.until(() => rig.echoes.length >= 3);
    await Bun.sleep(10);
    rig.turn();
    expect(rig.echoes.map(contentOf).toSorted((a, b) => a[1]! - b[1]!)).toEqual([
      [0, 7, ...DATA],
      [0, 8, ...DATA],
      [0, 9, ...DATA],
    ]);
    expect(rig.errors).toEqual([]);
  });

  test('show the routers on the way, and quote the request of the client', async () => {
    using _namespace = new RouterNamespace();
    setPingGroups(groups);
    using rig = new SessionRig();
    const sourcePort = CLIENT_IDENTIFIER;
    const row = rig.start({ ip: behind, port: 0, sourcePort, protocol });
    // Another that must not hear of it.
    rig.start({ ip: behind, port: 0, sourcePort: 1, protocol });
    rig.send(row, request(family, 1), { hopLimit: 2 });
    await rig.until(() => rig.errors.length > 0);
    rig.send(rig.start({ ip: nowhere, port: 0, sourcePort, protocol }), request(family, 2));
    await rig.until(() => rig.errors.length > 1);
    await Bun.sleep(10);
    rig.turn();
    expect(rig.errors).toEqual([
      `HOP_LIMIT from ${router} about 15`,
      `NETWORK from ${router} about 15`,
    ]);
    const quoted = rig.quoted[0]!;
    expect(contentOf(quoted)).toEqual([0, 1, ...DATA]);
    if (family === 4) {
      // The stack puts the identifier back; the checksum is right for that.
      const view = new DataView(quoted.buffer);
      view.setUint16(4, CLIENT_IDENTIFIER);
      expect(checksum(view, 0, quoted.length)).toBe(0);
    }
  });

  test('of 9,000 bytes go in fragments where they may', async () => {
    using _namespace = new RouterNamespace();
    setPingGroups(groups);
    using rig = new SessionRig();
    const row = rig.start({ ip: router, port: 0, sourcePort: CLIENT_IDENTIFIER, protocol });
    const long = new Uint8Array(9000);
    long.set(request(family, 3));
    rig.send(row, long, { mayFragment: true });
    await rig.until(() => rig.echoes.length === 1);
    expect(rig.echoes[0]?.length).toBe(9000);
    rig.send(row, long);
    rig.turn();
    expect(rig.errors).toEqual(['TOO_BIG 1500 from the gateway about 9000']);
  });
});
