/** A claimed connection and its script host: bytes, credits, looks, ends, the death of a host. */
import { describe, expect, test } from 'bun:test';
import { CLIENT_END, ConnKind, PeekedFlag } from '../../../../src/gateway/messages/conn.ts';
import { CloseReason } from '../../../../src/stack/close-reason.ts';
import { Counter } from '../../../../src/stack/counters.ts';
import { Stream, streamBytes } from '../../../support/byte-stream.ts';
import { DataPlaneRig } from '../../../support/dataplane-rig.ts';

const server = (from: number, to: number) => streamBytes(Stream.SERVER, from, to - from);
const client = (from: number, to: number) =>
  Buffer.from(streamBytes(Stream.CLIENT, from, to - from));

function opened(options = {}): DataPlaneRig {
  const rig = new DataPlaneRig({ port: 1, ...options });
  rig.open();
  rig.host.take();
  return rig;
}

/** Nothing is left of a connection: neither a row nor a slab. */
function expectEmpty(rig: DataPlaneRig): void {
  expect(rig.flows).toBe(0);
  expect(rig.stack.slabs.bytesUsed).toBe(0);
  expect(rig.counters.get(Counter.CLAIMS_NOW)).toBe(0);
  expect(rig.counters.get(Counter.CLAIM_SOCKETS_NOW)).toBe(0);
}

describe('a verdict claim', () => {
  test('answers the SYN at once, and tells the host when the client has finished', () => {
    using rig = new DataPlaneRig({ port: 1 });
    rig.turn();
    expect(rig.host.take()).toEqual(['STARTED']);
    const row = rig.claim(rig.peer, 77);
    rig.peer.expects('S. 0:0(0) ack 1');
    rig.turn();
    expect(rig.host.take()).toEqual([]);
    expect(rig.row(row)).toMatchObject({ verdict: 'claim', service: 'script', decider: 'script' });
    rig.peer.sends('. 1:1(0) ack 1 win 512');
    rig.turn();
    expect(rig.host.take()).toEqual(['OPENED']);
    const { raw } = rig.host.messages.at(-1)!;
    expect(raw).toMatchObject({ requestId: 77, generation: 7, script: 2 });
    expect(raw.flow).toBe(rig.row(row)!.serial);
    expect(rig.counters.get(Counter.CLAIMS_NOW)).toBe(1);
  });

  test('of a client that never finishes is told to the host by its request', () => {
    using rig = new DataPlaneRig({ port: 1 });
    rig.claim(rig.peer, 77);
    rig.peer.sends('R 1:1(0)');
    rig.turn();
    expect(rig.host.take()).toEqual(['STARTED', 'CLOSED 0 client-reset']);
    expect(rig.host.messages.at(-1)?.raw.requestId).toBe(77);
    expectEmpty(rig);
  });

  test('beyond the limit is refused with a reset, and counted', () => {
    using rig = new DataPlaneRig({ port: 1, claims: 2 });
    const [one, two, three] = [1, 2, 3].map((port) => rig.newPeer({ port }));
    rig.open(one!, 1);
    rig.open(two!, 2);
    rig.claim(three!, 3);
    three!.expects('R. 0:0(0) ack 1');
    expect(rig.ended).toEqual(['limit']);
    expect(rig.endedRows[0]?.verdict).toBe('claim');
    expect(rig.counters.get(Counter.CLAIMS_REFUSED)).toBe(1);
    expect(rig.refusedClaims).toEqual([3]);
    one!.sends('R 1:1(0)');
    rig.turn();
    rig.open(three!, 4);
    expect(rig.host.take().filter((text) => text === 'OPENED')).toHaveLength(3);
  });

  test('may be fewer, or more, from one moment to the next; those that are there go on', () => {
    using rig = new DataPlaneRig({ port: 1, claims: 2 });
    const [one, two, three] = [1, 2, 3].map((port) => rig.newPeer({ port }));
    rig.open(one!, 1);
    rig.open(two!, 2);
    rig.setClaimsLimit(1);
    rig.claim(three!, 3);
    expect(rig.refusedClaims).toEqual([3]);
    one!.sends('R 1:1(0)');
    rig.turn();
    rig.claim(rig.newPeer({ port: 4 }), 4);
    expect(rig.refusedClaims).toEqual([3, 4]);
    expect(rig.counters.get(Counter.CLAIMS_NOW)).toBe(1);
    rig.setClaimsLimit(3);
    rig.open(rig.newPeer({ port: 5 }), 5);
    rig.open(rig.newPeer({ port: 6 }), 6);
    expect(rig.counters.get(Counter.CLAIMS_NOW)).toBe(3);
  });

  test('of the same row again is another conn', () => {
    using rig = opened();
    const first = rig.host.conn;
    rig.peer.sends('R 1:1(0)');
    rig.turn();
    rig.open(rig.newPeer({ port: 2 }), 2);
    rig.host.take();
    expect(rig.host.conn).not.toBe(first);
  });
});

describe('bytes of the client', () => {
  test('wait in slabs until the host wants them, and come as far as it does', () => {
    using rig = opened();
    rig.peer.sends('P. 1:301(300) ack 1 win 512');
    rig.peer.sends('P. 301:501(200) ack 1 win 512');
    rig.turn();
    expect(rig.host.take()).toEqual([]);
    expect(rig.stack.slabs.bytesUsed).toBeGreaterThan(0);
    rig.host.want(120);
    rig.turn();
    expect(rig.host.take()).toEqual(['DATA 0 120']);
    rig.host.want(1000);
    rig.turn();
    expect(rig.host.take()).toEqual(['DATA 0 380']);
    expect(rig.stack.slabs.bytesUsed).toBe(0);
    rig.peer.sends('P. 501:1501(1000) ack 1 win 512');
    rig.turn();
    expect(rig.host.take()).toEqual(['DATA 0 620']);
    expect(rig.host.data()).toEqual(client(0, 1120));
  });

  test('close the window when nobody wants them, and a credit opens it', () => {
    using rig = opened();
    let next = 1;
    while (next < 200_000) {
      rig.turn(() => rig.peer.sends(`P. ${next}:${next + 14_600}(14600) ack 1 win 512`, 1460));
      next += 14_600;
      const last = rig.peer.readAll().at(-1);
      if (last !== undefined && last.window < 100) break;
    }
    expect(next).toBeLessThan(150_000);
    const kept = rig.stack.waiting(0);
    rig.host.want(1_000_000);
    for (let i = 0; i < 5; i++) rig.turn();
    expect(rig.host.data()).toEqual(client(0, kept));
    expect(rig.peer.readAll().at(-1)?.window).toBeGreaterThan(500);
    expect(rig.stack.slabs.bytesUsed).toBe(0);
  });

  test('come in messages of 16 KiB at most, whole and in order', () => {
    using rig = opened();
    rig.host.want(1_000_000);
    rig.turn(() => rig.peer.sends('P. 1:60001(60000) ack 1 win 512', 1460));
    rig.turn();
    expect(rig.host.take()).toEqual([
      ...['DATA 0 16384', 'DATA 0 16384', 'DATA 0 16384'],
      'DATA 0 10848',
    ]);
    expect(rig.host.data()).toEqual(client(0, 60_000));
  });

  test('a want of nothing takes back what is left of others', () => {
    using rig = opened();
    rig.host.want(1000);
    rig.host.want(0);
    rig.turn(() => rig.peer.sends('P. 1:101(100) ack 1 win 512'));
    rig.turn();
    expect(rig.host.take()).toEqual([]);
  });

  test('the FIN is told behind the last of them, and without a credit when there are none', () => {
    using rig = opened();
    rig.host.want(60);
    rig.turn(() => rig.peer.sends('F. 1:101(100) ack 1 win 512'));
    expect(rig.host.take()).toEqual(['DATA 0 60']);
    rig.host.want(40);
    rig.turn();
    expect(rig.host.take()).toEqual(['DATA 0 40', 'FIN 0']);
    using other = opened();
    other.turn(() => other.peer.sends('F. 1:1(0) ack 1 win 512'));
    expect(other.host.take()).toEqual(['FIN 0']);
  });
});

describe('a look', () => {
  test('is answered when there is enough, and takes nothing', () => {
    using rig = opened();
    rig.host.peek(9, 150, 16_384, 60_000);
    rig.turn(() => rig.peer.sends('P. 1:101(100) ack 1 win 512'));
    expect(rig.host.take()).toEqual([]);
    rig.turn(() => rig.peer.sends('P. 101:201(100) ack 1 win 512'));
    expect(rig.host.take()).toEqual(['PEEKED 0 #9 200 flags 0']);
    expect(Buffer.from(rig.host.messages.at(-1)!.bytes)).toEqual(client(0, 200));
    rig.host.peek(10, 1, 50, 60_000);
    rig.turn();
    expect(rig.host.take()).toEqual(['PEEKED 0 #10 50 flags 0']);
    rig.host.want(200);
    rig.turn();
    expect(rig.host.data()).toEqual(client(0, 200));
  });

  test('is answered at the FIN, also when bytes wait in front of it', () => {
    using rig = opened();
    rig.host.peek(1, 1000, 16_384, 60_000);
    rig.turn(() => rig.peer.sends('P. 1:101(100) ack 1 win 512'));
    rig.turn(() => rig.peer.sends('F. 101:101(0) ack 1 win 512'));
    expect(rig.host.take()).toEqual([`PEEKED 0 #1 100 flags ${PeekedFlag.FIN}`]);
  });

  test('is answered when its time is over, with what there is', async () => {
    using rig = opened();
    rig.host.peek(3, 1000, 16_384, 20);
    rig.turn(() => rig.peer.sends('P. 1:101(100) ack 1 win 512'));
    expect(rig.host.take()).toEqual([]);
    await Bun.sleep(25);
    rig.turn();
    expect(rig.host.take()).toEqual([`PEEKED 0 #3 100 flags ${PeekedFlag.TIMED_OUT}`]);
  });

  test('without time is answered at once, behind all DATA: a barrier', () => {
    using rig = opened();
    rig.host.want(1000);
    rig.host.want(0);
    rig.host.peek(4, 0, 0, 0);
    rig.turn(() => rig.peer.sends('P. 1:101(100) ack 1 win 512'));
    expect(rig.host.take()).toEqual(['PEEKED 0 #4 0 flags 0']);
  });

  test('gives way to the next one', async () => {
    using rig = opened();
    rig.host.peek(1, 1000, 1000, 10);
    rig.host.peek(2, 1, 1000, 60_000);
    rig.turn();
    await Bun.sleep(15);
    rig.turn(() => rig.peer.sends('P. 1:11(10) ack 1 win 512'));
    expect(rig.host.take()).toEqual(['PEEKED 0 #2 10 flags 0']);
  });
});

describe('bytes of the host', () => {
  test('reach the client, and the host hears of the room', () => {
    using rig = opened();
    rig.host.write(server(0, 100));
    rig.host.write(server(100, 5000));
    rig.turn();
    expect(rig.host.take()).toEqual(['ROOM 0 5000']);
    const bytes = Buffer.concat(rig.peer.readAll().map(({ payload }) => payload));
    expect(bytes.length).toBe(5000);
  });

  test('wait while the client has no window, and go on when it opens', () => {
    using rig = opened();
    // 512 << 7 bytes and an initial window of ten segments: some go at once.
    for (let at = 0; at < 65_536; at += 16_384) rig.host.write(server(at, at + 16_384));
    rig.turn();
    rig.host.take();
    let acked = 1;
    for (let i = 0; i < 40 && acked <= 65_536; i++) {
      for (const segment of rig.peer.readAll()) {
        acked = Math.max(acked, rig.peer.relative(segment) + segment.payload.length);
      }
      rig.turn(() => rig.peer.sends(`. 1:1(0) ack ${acked} win 512`));
    }
    expect(acked).toBe(65_537);
    rig.host.take();
    const rooms = rig.host.messages.filter(({ kind }) => kind === 'ROOM');
    expect(rooms.reduce((sum, { raw }) => sum + raw.bytes, 0)).toBe(65_536);
    expect(rig.stack.slabs.bytesUsed).toBe(0);
  });

  test('small ones share slabs', () => {
    using rig = opened();
    rig.peer.sends('. 1:1(0) ack 1 win 0');
    for (let at = 0; at < 3000; at++) {
      while (!rig.host.write(server(at, at + 1))) rig.turn();
    }
    for (let i = 0; i < 60; i++) rig.turn();
    expect(rig.stack.slabs.bytesUsed).toBeLessThan(25_000);
  });

  test('more than the window without room is against the rules', () => {
    using rig = opened();
    rig.turn(() => rig.peer.sends('. 1:1(0) ack 1 win 0'));
    for (let at = 0; at < 65_536; at += 16_384) rig.host.write(server(at, at + 16_384));
    rig.turn();
    expect(rig.ended).toEqual([]);
    rig.host.write('x');
    rig.turn();
    expect(rig.ended).toEqual(['script-failed']);
    expect(rig.host.take()).toEqual(['CLOSED 0 script-failed']);
    expect(rig.counters.get(Counter.CONN_MESSAGES_REFUSED)).toBe(1);
    expectEmpty(rig);
  });

  test('behind its FIN are against the rules', () => {
    using rig = opened();
    rig.host.fin();
    rig.host.write('x');
    rig.turn();
    expect(rig.ended).toEqual(['script-failed']);
  });

  test('that find no slab end the connection, with its reason', () => {
    using rig = opened({ slabBytes: 1 });
    const taken: number[] = [];
    for (let slab = rig.stack.slabs.take(1); slab >= 0; slab = rig.stack.slabs.take(1)) {
      taken.push(slab);
    }
    rig.host.write('hello');
    rig.turn();
    expect(rig.ended).toEqual(['limit']);
    for (const slab of taken) rig.stack.slabs.release(slab);
    expectEmpty(rig);
  });
});

describe('the end', () => {
  test('of both directions is the end of the conn, with what it moved', () => {
    using rig = opened();
    rig.host.want(1000);
    rig.turn(() => rig.peer.sends('F. 1:101(100) ack 1 win 512'));
    rig.host.write(server(0, 30));
    rig.host.fin();
    rig.turn();
    expect(rig.host.take()).toEqual(['DATA 0 100', 'FIN 0', 'ROOM 0 30']);
    expect(rig.peer.readAll().some(({ flags }) => (flags & 1) !== 0)).toBe(true);
    rig.turn(() => rig.peer.sends('. 102:102(0) ack 32 win 512'));
    expect(rig.host.take()).toEqual(['CLOSED 0 eof']);
    expect(rig.host.messages.at(-1)?.raw).toMatchObject({ bytesUp: 100, bytesDown: 30 });
    expectEmpty(rig);
  });

  test('of what the host writes leaves the other direction open', () => {
    using rig = opened();
    rig.host.fin();
    rig.host.want(100);
    rig.turn();
    rig.turn(() => rig.peer.sends('P. 1:101(100) ack 2 win 512'));
    expect(rig.host.take()).toEqual(['DATA 0 100']);
  });

  test('by abort is a reset for the client', () => {
    using rig = opened();
    rig.host.abort();
    rig.turn();
    rig.peer.expects('R. 1:1(0) ack 1');
    expect(rig.host.take()).toEqual(['CLOSED 0 aborted']);
    expect(rig.endedRows[0]).toMatchObject({ closeReason: 'aborted', closedBy: 'script' });
    expectEmpty(rig);
  });

  test.each([
    ['limit', CloseReason.LIMIT, 'limit'],
    ['reloaded', CloseReason.RELOADED, 'reload'],
  ] as const)('by abort because it was %s says so', (word, reason, closedBy) => {
    using rig = opened();
    rig.host.abort(CLIENT_END, reason);
    rig.turn();
    rig.peer.expects('R. 1:1(0) ack 1');
    expect(rig.host.take()).toEqual([`CLOSED 0 ${word}`]);
    expect(rig.endedRows[0]).toMatchObject({ closeReason: word, closedBy });
    expectEmpty(rig);
  });

  test('by close throws away what still comes, and is orderly', () => {
    using rig = opened();
    rig.turn(() => rig.peer.sends('P. 1:101(100) ack 1 win 512'));
    rig.host.write(server(0, 10));
    rig.host.close();
    rig.turn();
    expect(rig.stack.waiting(0)).toBe(0);
    rig.turn(() => rig.peer.sends('P. 101:60101(60000) ack 12 win 512', 1460));
    expect(rig.stack.waiting(0)).toBe(0);
    rig.turn(() => rig.peer.sends('F. 60101:60101(0) ack 12 win 512'));
    expect(rig.host.take()).toEqual(['ROOM 0 10', 'CLOSED 0 eof']);
    expect(rig.ended).toEqual(['eof']);
  });

  test('by a reset of the client reaches the host', () => {
    using rig = opened();
    rig.turn(() => rig.peer.sends('P. 1:101(100) ack 1 win 512'));
    rig.turn(() => rig.peer.sends('R 101:101(0)'));
    expect(rig.host.take()).toEqual(['CLOSED 0 client-reset']);
    expectEmpty(rig);
  });
});

describe('a script host that ends', () => {
  test('has its connections reset, and hears nothing of them', () => {
    using rig = opened();
    rig.turn(() => rig.peer.sends('P. 1:101(100) ack 1 win 512'));
    rig.setHost(undefined);
    rig.peer.readAll();
    expect(rig.ended).toEqual(['script-failed']);
    rig.turn();
    expect(rig.host.take()).toEqual([]);
    expectEmpty(rig);
  });

  test('leaves nothing to its successor, which is told that it begins', () => {
    using rig = opened();
    const old = { conn: rig.host.conn, epoch: rig.host.epoch };
    rig.setHost(undefined);
    rig.setHost(2);
    rig.turn();
    expect(rig.host.take()).toEqual(['STARTED']);
    expect(rig.host.epoch).not.toBe(old.epoch);
    rig.open(rig.newPeer({ port: 2 }), 2);
    rig.host.take();
    const { conn, epoch } = rig.host;
    Object.assign(rig.host, { epoch: old.epoch, conn });
    rig.host.abort();
    rig.turn();
    expect(rig.ended).toEqual(['script-failed']);
    expect(rig.counters.get(Counter.CONN_MESSAGES_LATE)).toBe(1);
    rig.host.epoch = epoch;
    rig.host.abort();
    rig.turn();
    expect(rig.ended).toEqual(['script-failed', 'aborted']);
  });

  test('also has those reset whose client has not finished its handshake', () => {
    using rig = new DataPlaneRig({ port: 1 });
    rig.claim();
    rig.setHost(2);
    expect(rig.ended).toEqual(['script-failed']);
    rig.turn();
    expect(rig.host.take()).toEqual(['STARTED']);
    expectEmpty(rig);
  });

  test('of the same epoch is the same', () => {
    using rig = opened();
    rig.setHost(1);
    rig.turn();
    expect(rig.ended).toEqual([]);
    expect(rig.host.take()).toEqual([]);
  });
});

describe('messages that are none', () => {
  test('are counted, and change nothing', () => {
    using rig = opened();
    rig.host.raw(Uint8Array.of(99, 1, 2, 3));
    rig.host.raw(new Uint8Array(20_000).fill(ConnKind.WRITE));
    rig.host.raw(new Uint8Array(16).fill(0));
    rig.turn();
    expect(rig.counters.get(Counter.CONN_MESSAGES_REFUSED)).toBe(3);
    expect(rig.ended).toEqual([]);
  });

  test('for a conn that is no more, or never was, are late', () => {
    using rig = opened();
    rig.host.conn = 0xffff_ffff;
    rig.host.abort();
    rig.host.conn = 1;
    rig.host.want(5);
    rig.turn();
    expect(rig.counters.get(Counter.CONN_MESSAGES_LATE)).toBe(2);
    expect(rig.ended).toEqual([]);
  });

  test('for a socket that the conn does not have are late', () => {
    using rig = opened();
    rig.host.write('x', 5);
    rig.host.fin(5);
    rig.turn();
    expect(rig.counters.get(Counter.CONN_MESSAGES_LATE)).toBe(2);
    expect(rig.ended).toEqual([]);
  });
});

describe('a socket to the host that is full', () => {
  test('holds everything back, and loses nothing', () => {
    using rig = opened();
    rig.host.want(100_000_000);
    let next = 1;
    // Nobody reads: the socket takes a megabyte or so.
    for (let i = 0; i < 400 && rig.counters.get(Counter.CONN_STALLS) === 0; i++) {
      rig.turn(() => rig.peer.sends(`P. ${next}:${next + 14_600}(14600) ack 1 win 512`, 1460));
      next += 14_600;
    }
    expect(rig.counters.get(Counter.CONN_STALLS)).toBe(1);
    for (let i = 0; i < 5; i++) {
      rig.turn(() => rig.peer.sends(`P. ${next}:${next + 14_600}(14600) ack 1 win 512`, 1460));
      next += 14_600;
    }
    expect(rig.patienceMs).toBe(Number.POSITIVE_INFINITY);
    expect(rig.stack.waiting(0)).toBeGreaterThan(50_000);
    const { length } = rig.host.data();
    expect(length).toBeLessThan(next - 1);
    for (let i = 0; i < 20; i++) {
      rig.turn();
      rig.host.take();
    }
    expect(rig.host.data()).toEqual(client(0, next - 1));
    expect(rig.stack.slabs.bytesUsed).toBe(0);
  });

  test('is told the end of a conn when it takes messages again', () => {
    using rig = opened();
    rig.host.want(100_000_000);
    let next = 1;
    for (let i = 0; i < 400 && rig.counters.get(Counter.CONN_STALLS) === 0; i++) {
      rig.turn(() => rig.peer.sends(`P. ${next}:${next + 14_600}(14600) ack 1 win 512`, 1460));
      next += 14_600;
    }
    rig.turn(() => rig.peer.sends(`R ${next}:${next}(0)`));
    expect(rig.ended).toEqual(['client-reset']);
    rig.turn();
    rig.host.take();
    rig.turn();
    rig.host.take();
    rig.turn();
    expect(rig.host.messages.at(-1)?.text).toBe('CLOSED 0 client-reset');
    expectEmpty(rig);
  });
});
