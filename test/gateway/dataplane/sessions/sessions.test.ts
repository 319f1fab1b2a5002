import { describe, expect, test } from 'bun:test';
import { join } from 'node:path';
import { Upstream } from '../../../../src/gateway/dataplane/upstream/upstream.ts';
import { Counter } from '../../../../src/stack/counters.ts';
import { DropReason } from '../../../../src/stack/drop-reason.ts';
import { descriptorCount } from '../../../ffi/support/descriptors.ts';
import { SessionRig, UdpUpstream } from '../../../support/session-rig.ts';
import { waitFor } from '../../../support/wait.ts';

/** `length` bytes that tell where they are. */
const pattern = (length: number): Uint8Array<ArrayBuffer> =>
  Uint8Array.from({ length }, (_, i) => (i * 7 + (i >>> 8)) & 0xff);

describe.each(['127.0.0.1', '::1'])('a session with %s', (ip) => {
  test('carries datagrams both ways, each as it was', async () => {
    using upstream = await UdpUpstream.open(ip);
    using rig = new SessionRig();
    const row = rig.start({ ip, port: upstream.port });
    rig.send(row, 'one');
    await rig.until(() => upstream.texts.length === 1);
    upstream.reply('two');
    upstream.reply('three');
    await rig.until(() => rig.sent.length > 0 && rig.sent.at(-1)?.bytes.length === 5);
    expect(upstream.texts).toEqual(['one']);
    expect(rig.sent.map(({ bytes }) => new TextDecoder().decode(bytes))).toEqual(['two', 'three']);
    expect(rig.sockets).toBe(1);
  });

  test('datagrams of one turn leave together, and arrive one by one', async () => {
    using upstream = await UdpUpstream.open(ip);
    using rig = new SessionRig();
    const row = rig.start({ ip, port: upstream.port });
    for (let i = 0; i < 10; i++) rig.send(row, `datagram ${i}`);
    rig.send(row, 'short');
    rig.send(row, 'a longer one');
    await rig.until(() => upstream.texts.length === 12);
    expect(upstream.texts).toEqual([
      ...Array.from({ length: 10 }, (_, i) => `datagram ${i}`),
      'short',
      'a longer one',
    ]);
    expect(rig.counters.get(Counter.DATAGRAM_SENDS)).toBe(2);
  });

  test('a superpacket leaves with one call, behind what was gathered', async () => {
    using upstream = await UdpUpstream.open(ip);
    using rig = new SessionRig();
    const row = rig.start({ ip, port: upstream.port });
    rig.send(row, 'before');
    rig.send(row, pattern(1050), { segmentBytes: 100 });
    rig.send(row, 'behind');
    await rig.until(() => upstream.lengths.length === 13);
    expect(upstream.lengths).toEqual([6, ...Array.from({ length: 10 }, () => 100), 50, 6]);
    expect(rig.counters.get(Counter.DATAGRAM_SENDS)).toBe(3);
  });

  test('a burst of the upstream comes in runs, none lost and in order', async () => {
    using upstream = await UdpUpstream.open(ip);
    using rig = new SessionRig();
    const row = rig.start({ ip, port: upstream.port });
    rig.send(row, 'hello');
    await rig.until(() => upstream.texts.length === 1);
    const text = (i: number) => String(i).padStart(4, '0');
    for (let i = 0; i < 300; i++) upstream.reply(text(i));
    await rig.until(() => rig.counters.get(Counter.DATAGRAM_RECEIVES) > 0 && received(rig) >= 1200);
    const all = rig.sent.map(({ bytes }) => new TextDecoder().decode(bytes)).join('');
    expect(all).toBe(Array.from({ length: 300 }, (_, i) => text(i)).join(''));
    const isRun = rig.sent.some(
      ({ bytes, segmentBytes }) => segmentBytes === 4 && bytes.length > 8,
    );
    expect(isRun).toBe(true);
    for (const { bytes, segmentBytes } of rig.sent) {
      if (segmentBytes === 0) expect(bytes.length).toBe(4);
    }
  });

  test('a run ends with a shorter datagram, and before a longer or an empty one', async () => {
    using upstream = await UdpUpstream.open(ip);
    using rig = new SessionRig();
    const row = rig.start({ ip, port: upstream.port });
    rig.send(row, 'hello');
    await rig.until(() => upstream.texts.length === 1);
    for (const length of [8, 8, 5, 8, 9, 0, 0, 9]) upstream.reply(pattern(length));
    await Bun.sleep(20);
    rig.turn();
    expect(rig.sent.map(({ bytes, segmentBytes }) => [bytes.length, segmentBytes])).toEqual([
      [21, 8],
      [8, 0],
      [9, 0],
      [0, 0],
      [0, 0],
      [9, 0],
    ]);
  });

  test('the longest datagram goes both ways, and the empty one', async () => {
    using upstream = await UdpUpstream.open(ip);
    using rig = new SessionRig();
    const row = rig.start({ ip, port: upstream.port });
    rig.send(row, pattern(65_507), { mayFragment: true });
    rig.send(row, '');
    await rig.until(() => upstream.lengths.length === 2);
    expect(upstream.lengths).toEqual([65_507, 0]);
    upstream.reply(pattern(65_507));
    await rig.until(() => rig.sent.length === 1);
    expect(rig.sent[0]?.bytes).toEqual(pattern(65_507));
  });
});

const received = (rig: SessionRig): number =>
  rig.sent.reduce((sum, { bytes }) => sum + bytes.length, 0);

describe('sessions', () => {
  test('flows that come by turns are gathered side by side', async () => {
    using one = await UdpUpstream.open();
    using other = await UdpUpstream.open();
    using rig = new SessionRig();
    const rows = [rig.start({ port: one.port }), rig.start({ port: other.port })];
    for (let i = 0; i < 20; i++) rig.send(rows[i % 2]!, `${i % 2}`);
    await rig.until(() => one.texts.length === 10 && other.texts.length === 10);
    expect([...new Set(one.texts), ...new Set(other.texts)]).toEqual(['0', '1']);
    expect(rig.counters.get(Counter.DATAGRAM_SENDS)).toBe(2);
  });

  test('more flows than are gathered at once lose nothing', async () => {
    using upstream = await UdpUpstream.open();
    using rig = new SessionRig({ limit: 64, perSource: 64 });
    const rows = Array.from({ length: 20 }, () => rig.start({ port: upstream.port }));
    for (let i = 0; i < 200; i++) rig.send(rows[i % 20]!, `${i % 20}`);
    await rig.until(() => upstream.texts.length === 200);
    for (let i = 0; i < 20; i++) {
      expect(upstream.texts.filter((text) => text === String(i))).toHaveLength(10);
    }
  });

  test('more than a call takes leaves with several', async () => {
    using upstream = await UdpUpstream.open();
    using rig = new SessionRig();
    const row = rig.start({ port: upstream.port });
    for (let i = 0; i < 100; i++) rig.send(row, pattern(1000));
    await rig.until(() => upstream.lengths.length === 100);
    expect(rig.counters.get(Counter.DATAGRAM_SENDS)).toBe(2);
  });

  test('datagrams that waited for the verdict are sent from within admit', async () => {
    using upstream = await UdpUpstream.open();
    using rig = new SessionRig();
    rig.onAdmit = (row) => rig.send(row, 'waited');
    rig.start({ port: upstream.port });
    await rig.until(() => upstream.texts.length === 1);
    expect(upstream.texts).toEqual(['waited']);
  });

  test('without slabs datagrams are sent one by one, and received later', async () => {
    using upstream = await UdpUpstream.open();
    using rig = new SessionRig({}, 1);
    rig.hoard();
    const row = rig.start({ port: upstream.port });
    for (let i = 0; i < 3; i++) rig.send(row, 'up');
    await rig.until(() => upstream.texts.length === 3);
    expect(rig.counters.get(Counter.DATAGRAM_SENDS)).toBe(3);
    upstream.reply('down');
    await Bun.sleep(10);
    rig.turn();
    expect(rig.sessions.patienceMs).toBe(2);
    rig.giveBack();
    await rig.until(() => rig.sent.length === 1);
    expect(rig.sessions.patienceMs).toBe(Number.POSITIVE_INFINITY);
  });

  test('an upstream named by a mapped address gets IPv4', async () => {
    using upstream = await UdpUpstream.open();
    using rig = new SessionRig();
    const row = rig.start({ ip: '::ffff:127.0.0.1', port: upstream.port });
    rig.send(row, 'mapped');
    await rig.until(() => upstream.texts.length === 1);
  });

  test('the verdict chooses the local address', async () => {
    using upstream = await UdpUpstream.open('0.0.0.0');
    using rig = new SessionRig();
    rig.start({ port: upstream.port, bind: '127.0.0.1' });
    expect(rig.ended).toEqual([]);
    rig.start({ port: upstream.port, bind: '203.0.113.77' });
    rig.start({ port: upstream.port, bind: '::1' });
    expect(rig.ended).toEqual(['1 dial-failed', '2 dial-failed']);
    expect(rig.counters.get(Counter.DIALS_FAILED)).toBe(2);
  });

  test('an upstream by name chooses it, too, and counts the dials', async () => {
    using upstream = await UdpUpstream.open('0.0.0.0');
    using rig = new SessionRig();
    const rule = { kind: 'egress', name: 'wan', id: 7, sources: ['127.0.0.9'] } as const;
    const via = new Upstream(rule, []);
    const row = rig.start({ port: upstream.port, via });
    rig.send(row, 'hello');
    rig.turn();
    await rig.until(() => upstream.texts.length > 0);
    expect(upstream.from).toBe('127.0.0.9');
    rig.start({ port: 9, ip: '::1', via });
    expect(rig.ended).toEqual(['1 dial-failed']);
    expect(via.report()).toMatchObject({ connects: 1, failures: 1 });
    expect(rig.counters.get(Counter.DIALS)).toBe(0);
  });

  test('a verdict can bound the bytes of a session, up and down', async () => {
    using upstream = await UdpUpstream.open();
    using rig = new SessionRig();
    const up = rig.start({ port: upstream.port, maxBytes: 10 });
    rig.send(up, '0123456789');
    rig.turn();
    expect(rig.ended).toEqual([]);
    rig.send(up, 'x');
    rig.send(up, 'too late');
    rig.turn();
    expect(rig.ended).toEqual(['0 limit']);
    await rig.until(() => upstream.texts.length === 2);
    expect(rig.counters.dropped(DropReason.UPSTREAM_SEND_FAILED)).toBe(1);
    const down = rig.start({ port: upstream.port, maxBytes: 5 });
    rig.send(down, 'ask');
    await rig.until(() => upstream.texts.length === 3);
    upstream.reply('long answer');
    await rig.until(() => rig.ended.length === 2);
    expect(rig.ended).toEqual(['0 limit', '1 limit']);
  });

  test('end with their sockets', async () => {
    using upstream = await UdpUpstream.open();
    const before = descriptorCount('socket:');
    {
      using rig = new SessionRig();
      for (let i = 0; i < 5; i++) rig.send(rig.start({ port: upstream.port }), 'x');
      expect(descriptorCount('socket:')).toBeGreaterThanOrEqual(before + 5);
      for (let row = 0; row < 5; row++) rig.sessions.release(row);
      rig.sessions.release(0);
      rig.turn();
      expect(rig.sockets).toBe(0);
      // Those that are left belong to the rig: epoll, and netlink of the loop guard.
      expect(descriptorCount('socket:')).toBeLessThanOrEqual(before + 1);
    }
  });

  test("an event of a socket that was closed in the same batch is nobody's", async () => {
    using upstream = await UdpUpstream.open();
    using rig = new SessionRig();
    const row = rig.start({ port: upstream.port });
    rig.send(row, 'x');
    await rig.until(() => upstream.texts.length === 1);
    upstream.reply('y');
    await Bun.sleep(10);
    rig.sessions.release(row);
    rig.turn();
    expect(rig.sent).toEqual([]);
  });
});

test('without a descriptor a flow is dropped with no error, and the operator is told', async () => {
  using upstream = await UdpUpstream.open();
  const program = join(import.meta.dir, 'shortage-child.ts');
  const child = Bun.spawnSync([process.execPath, program, String(upstream.port)]);
  expect(child.stderr.toString()).toBe('');
  expect(JSON.parse(child.stdout.toString())).toEqual({
    ended: ['0 dial-shortage', '1 dial-shortage', '2 dial-shortage'],
    rejections: ['drop', 'drop', 'drop'],
    lines: [['warn', 'socket-shortage', { why: 'EMFILE', flows: 1 }]],
    failed: 3,
  });
  await waitFor('the next datagram', () => upstream.texts.length === 1);
});

describe('the oldest session gives way', () => {
  test('of the same source, when that has too many', () => {
    using rig = new SessionRig({ perSource: 2 });
    const start = (source: string) => rig.start({ port: 9, source });
    start('10.0.0.1');
    start('10.0.0.2');
    start('10.0.0.1');
    start('10.0.0.1');
    rig.turn();
    expect(rig.ended).toEqual(['0 limit']);
    start('10.0.0.1');
    rig.turn();
    expect(rig.ended).toEqual(['0 limit', '2 limit']);
    expect(rig.sockets).toBe(3);
  });

  test('of an IPv6 network, when that has too many', () => {
    using rig = new SessionRig({ perSource: 1 });
    rig.start({ port: 9, ip: '::1', source: '2001:db8:0:1::1' });
    rig.start({ port: 9, ip: '::1', source: '2001:db8:0:2::1' });
    rig.start({ port: 9, ip: '::1', source: '2001:db8:0:1::2' });
    rig.turn();
    expect(rig.ended).toEqual(['0 limit']);
  });

  test('of those without an answer, when sockets are used up; then new ones are refused', () => {
    using rig = new SessionRig({ limit: 3 });
    for (const source of ['10.0.0.1', '10.0.0.2', '10.0.0.3']) rig.start({ port: 9, source });
    rig.markReplied(0);
    rig.start({ port: 9, source: '10.0.0.4' });
    rig.turn();
    expect(rig.ended).toEqual(['1 limit']);
    rig.markReplied(2);
    rig.markReplied(3);
    rig.start({ port: 9, source: '10.0.0.5' });
    expect(rig.ended).toEqual(['1 limit', '4 limit']);
    expect(rig.errors).toEqual(['PROHIBITED refuses']);
    // Its own give way even when they have answers.
    rig.start({ port: 9, source: '10.0.0.3' });
    rig.turn();
    expect(rig.ended).toEqual(['1 limit', '4 limit', '2 limit']);
  });
});
