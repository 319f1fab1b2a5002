import { describe, expect, test } from 'bun:test';
import net from 'node:net';
import { CongestionControl } from '../../../../src/stack/tcp/congestion.ts';
import { CONGESTION_NAMES } from '../../../../src/stack/verdict.ts';
import { Stream, streamBytes } from '../../../support/byte-stream.ts';
import { DataPlaneRig } from '../../../support/dataplane-rig.ts';

/** An upstream on loopback, and its side of the connections that it took. */
async function upstream(): Promise<{
  readonly port: number;
  readonly sockets: net.Socket[];
  readonly seen: string[];
  [Symbol.dispose](): void;
}> {
  const sockets: net.Socket[] = [];
  const seen: string[] = [];
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    socket.on('data', (bytes) => seen.push(`data ${bytes.length}`));
    socket.on('end', () => seen.push('end'));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    port: address.port,
    sockets,
    seen,
    [Symbol.dispose]: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

describe('a verdict', () => {
  test('chooses the congestion control of its flow, if there is such a one', async () => {
    using server = await upstream();
    const controls: number[] = [];
    for (const congestion of [0, CONGESTION_NAMES.indexOf('newreno') + 1, 200]) {
      using rig = new DataPlaneRig({ port: server.port, congestion });
      await rig.connect();
      controls.push(rig.congestion);
    }
    const { CUBIC, NEW_RENO } = CongestionControl;
    expect(controls).toEqual([CUBIC, NEW_RENO, CUBIC]);
  });
});

describe('the splice', () => {
  test('a reset of the client in the batch that passes a limit leaves no row behind', async () => {
    using server = await upstream();
    using rig = new DataPlaneRig({ port: server.port, maxBytes: 1000 });
    await rig.connect();
    rig.turn(() => {
      rig.peer.sends('. 1:1401(1400) ack 1 win 512');
      rig.peer.sends('. 1401:2801(1400) ack 1 win 512');
      rig.peer.sends('R 2801:2801(0)');
    });
    rig.turn();
    expect(rig.ended).toEqual(['client-reset']);
    expect(rig.flows).toBe(0);
  });

  test('bytes beyond the limit of a verdict end the flow with a reset', async () => {
    using server = await upstream();
    using rig = new DataPlaneRig({ port: server.port, maxBytes: 1000 });
    await rig.connect();
    rig.turn(() => rig.peer.sends('. 1:1401(1400) ack 1 win 512'));
    rig.turn();
    expect(rig.ended).toEqual(['limit']);
  });

  test('a reset of the upstream is one for the client, even when send() met it first', async () => {
    using server = await upstream();
    using rig = new DataPlaneRig({ port: server.port });
    await rig.connect();
    await rig.until(() => server.sockets.length === 1);
    server.sockets[0]?.resetAndDestroy();
    await Bun.sleep(30);
    rig.turn(() => rig.peer.sends('. 1:1401(1400) ack 1 win 512'));
    rig.turn();
    expect(rig.ended).toEqual(['upstream-reset']);
    rig.peer.expects('R. 1:1(0) ack 1401');
  });

  test('accept-first: a FIN that comes before the dial is done reaches the upstream', async () => {
    using server = await upstream();
    using rig = new DataPlaneRig({ port: server.port, acceptFirst: true });
    rig.dial();
    rig.peer.expects('S. 0:0(0) ack 1');
    rig.peer.sends('. 1:1(0) ack 1 win 512');
    rig.peer.sends('F. 1:1(0) ack 1 win 512');
    await rig.until(() => server.seen.includes('end'));
    expect(server.seen).toEqual(['end']);
  });

  test("the upstream's last bytes and its FIN leave in one segment", async () => {
    using server = await upstream();
    using rig = new DataPlaneRig({ port: server.port });
    await rig.connect();
    await rig.until(() => server.sockets.length === 1);
    server.sockets[0]?.end(streamBytes(Stream.SERVER, 0, 3));
    await Bun.sleep(30);
    rig.turn();
    const [last, ...rest] = rig.peer.readAll();
    expect(rest).toEqual([]);
    expect(last?.payload.length).toBe(3);
    expect((last?.flags ?? 0) & 1).toBe(1);
  });

  // A superpacket is 44 segments of 1460 bytes; four fill one call of recv.
  test.each([4 * 44 * 1460, 4 * 44 * 1460 - 1, 4 * 44 * 1460 + 1, 1_000_003])(
    'a download of %i bytes arrives in order, and then its end',
    async (length) => {
      using server = await upstream();
      using rig = new DataPlaneRig({ port: server.port });
      await rig.connect();
      await rig.until(() => server.sockets.length === 1);
      server.sockets[0]?.end(streamBytes(Stream.SERVER, 0, length));
      let next = 1;
      let largest = 0;
      let hasEnded = false;
      await rig.until(() => {
        for (const segment of rig.peer.readAll()) {
          // The clock is real: on a slow machine a tail loss probe repeats what was read.
          if (rig.peer.relative(segment) < next) continue;
          expect(rig.peer.relative(segment)).toBe(next);
          next += segment.payload.length;
          largest = Math.max(largest, segment.payload.length);
          hasEnded = (segment.flags & 1) !== 0;
        }
        rig.peer.sends(`. 1:1(0) ack ${next} win 65535`);
        return hasEnded;
      });
      expect(next).toBe(1 + length);
      expect(largest).toBeLessThanOrEqual(44 * 1460);
    },
  );

  test('an upstream named by a mapped address is dialled over IPv4', async () => {
    using server = await upstream();
    using rig = new DataPlaneRig({ port: server.port, ip: '::ffff:127.0.0.1' });
    await rig.connect();
    await rig.until(() => server.sockets.length === 1);
    expect(server.sockets[0]?.remoteFamily).toBe('IPv4');
  });
});
