/** SPLICE: the socket of a script becomes the upstream of its flow, and nothing is lost. */
import { describe, expect, test } from 'bun:test';
import type { SocketDial } from '../../../../src/gateway/messages/conn-encode.ts';
import { Counter } from '../../../../src/stack/counters.ts';
import { Stream, streamBytes } from '../../../support/byte-stream.ts';
import { DataPlaneRig } from '../../../support/dataplane-rig.ts';
import { type TcpServer, tcpServer } from '../../../support/tcp-server.ts';

const to = (port: number): SocketDial => ({
  to: { ip: '127.0.0.1', port, family: 4 },
  isIntoDevice: false,
  timeoutMs: 0,
});
const client = (from: number, till: number) =>
  Buffer.from(streamBytes(Stream.CLIENT, from, till - from));
const served = (from: number, till: number) =>
  Buffer.from(streamBytes(Stream.SERVER, from, till - from));

/** Four slabs that stand ready to receive: landing.ts. */
const READY_BYTES = 4 * 69_632;

async function said(rig: DataPlaneRig, text: string): Promise<void> {
  await rig.until(() => {
    rig.host.take();
    return rig.host.messages.some((message) => message.text === text);
  });
}

/** A conn with socket 1, connected. */
async function dialed(server: TcpServer): Promise<DataPlaneRig> {
  const rig = new DataPlaneRig({ port: 1 });
  rig.open();
  rig.host.take();
  rig.host.dial(1, to(server.port));
  await said(rig, 'DIALED 1 OK');
  await rig.until(() => server.sockets.length > 0);
  return rig;
}

/** Payload bytes that the client has got, acknowledged as they come. */
class Download {
  length = 0;
  hasFin = false;
  readonly #rig: DataPlaneRig;

  constructor(rig: DataPlaneRig) {
    this.#rig = rig;
  }

  turn(sent = 1): void {
    this.#rig.turn();
    let isNew = false;
    // A probe of the tail brings bytes again.
    for (const segment of this.#rig.peer.readAll()) {
      const { payload, flags } = segment;
      this.length = Math.max(this.length, this.#rig.peer.relative(segment) - 1 + payload.length);
      isNew ||= payload.length > 0;
      this.hasFin ||= (flags & 1) !== 0;
    }
    const ack = 1 + this.length + (this.hasFin ? 1 : 0);
    if (isNew || this.hasFin) this.#rig.peer.sends(`. ${sent}:${sent}(0) ack ${ack} win 512`);
  }
}

describe('a splice', () => {
  test('carries bytes both ways, and the host hears of none', async () => {
    using server = await tcpServer();
    using rig = await dialed(server);
    rig.host.splice(1);
    rig.turn();
    rig.turn(() => rig.peer.sends('P. 1:101(100) ack 1 win 512'));
    await rig.until(() => server.length() === 100);
    expect(server.bytes()).toEqual(client(0, 100));
    server.sockets[0]?.write(served(0, 5000));
    const download = new Download(rig);
    await rig.until(() => {
      download.turn(101);
      return download.length === 5000;
    });
    expect(rig.host.take()).toEqual([]);
    expect(rig.counters.get(Counter.CLAIMS_NOW)).toBe(0);
    expect(rig.counters.get(Counter.CLAIMS_SPLICED)).toBe(1);
    expect(rig.counters.get(Counter.CLAIM_SOCKETS_NOW)).toBe(0);
    expect(rig.row(0)).toMatchObject({
      verdict: 'claim',
      service: undefined,
      upstream: { ip: '127.0.0.1', port: server.port },
    });
  });

  test('begins with what the host wrote, then what it looked at, then what came', async () => {
    using server = await tcpServer();
    using rig = await dialed(server);
    rig.turn(() => rig.peer.sends('P. 1:301(300) ack 1 win 512'));
    rig.host.want(100);
    await said(rig, 'DATA 0 100');
    rig.host.peek(1, 1, 16_384, 0);
    await said(rig, 'PEEKED 0 #1 200 flags 0');
    server.sockets[0]?.write(served(0, 40));
    rig.host.want(10, 1);
    await said(rig, 'DATA 1 10');
    // What was read of one end is the other's.
    rig.host.write(client(0, 100), 1);
    rig.host.write(served(0, 10));
    rig.host.splice(1);
    rig.turn(() => rig.peer.sends('P. 301:401(100) ack 1 win 512'));
    await rig.until(() => server.length() === 400);
    expect(server.bytes()).toEqual(client(0, 400));
    const download = new Download(rig);
    await rig.until(() => {
      download.turn(401);
      return download.length === 40;
    });
  });

  test('waits for what the host wrote to a client without a window', async () => {
    using server = await tcpServer();
    using rig = await dialed(server);
    rig.turn(() => rig.peer.sends('. 1:1(0) ack 1 win 0'));
    for (let at = 0; at < 65_536; at += 16_384) rig.host.write(served(at, at + 16_384));
    rig.host.splice(1);
    server.sockets[0]?.write(served(65_536, 70_000));
    for (let i = 0; i < 5; i++) rig.turn();
    expect(rig.counters.get(Counter.CLAIMS_SPLICED)).toBe(0);
    rig.peer.sends('. 1:1(0) ack 1 win 512');
    const download = new Download(rig);
    await rig.until(() => {
      download.turn();
      return download.length === 70_000;
    });
    expect(rig.counters.get(Counter.CLAIMS_SPLICED)).toBe(1);
    expect(rig.stack.slabs.bytesUsed).toBeLessThanOrEqual(READY_BYTES);
  });

  test('that waits is not undone by the end of another socket', async () => {
    using server = await tcpServer();
    using rig = await dialed(server);
    rig.host.dial(2, to(server.port));
    await said(rig, 'DIALED 2 OK');
    rig.turn(() => rig.peer.sends('. 1:1(0) ack 1 win 0'));
    rig.host.write(served(0, 100));
    rig.host.splice(1);
    rig.host.abort(2);
    rig.host.close(2);
    rig.turn();
    expect(rig.ended).toEqual([]);
    expect(rig.counters.get(Counter.CLAIMS_SPLICED)).toBe(0);
    rig.peer.sends('. 1:1(0) ack 1 win 512');
    const download = new Download(rig);
    await rig.until(() => {
      download.turn();
      return download.length === 100;
    });
    expect(rig.counters.get(Counter.CLAIMS_SPLICED)).toBe(1);
    expect(rig.counters.get(Counter.CONN_MESSAGES_REFUSED)).toBe(0);
    expect(rig.counters.get(Counter.CLAIM_SOCKETS_NOW)).toBe(0);
  });

  test('half-closes both ways, and the host hears of the end with the bytes', async () => {
    using server = await tcpServer();
    using rig = await dialed(server);
    rig.host.splice(1);
    rig.turn(() => rig.peer.sends('F. 1:101(100) ack 1 win 512'));
    await rig.until(() => server.ended === 1);
    server.sockets[0]?.end(served(0, 3000));
    const download = new Download(rig);
    await rig.until(() => {
      download.turn(102);
      return download.hasFin;
    });
    rig.turn();
    expect(download.length).toBe(3000);
    await said(rig, 'CLOSED 0 eof');
    expect(rig.host.messages.at(-1)?.raw).toMatchObject({ bytesUp: 100, bytesDown: 3000 });
    expect(rig.ended).toEqual(['eof']);
    expect(rig.stack.slabs.bytesUsed).toBeLessThanOrEqual(READY_BYTES);
  });

  test('passes on the FINs that came before it', async () => {
    using server = await tcpServer();
    using rig = await dialed(server);
    rig.turn(() => rig.peer.sends('F. 1:1(0) ack 1 win 512'));
    await said(rig, 'FIN 0');
    server.sockets[0]?.end();
    await said(rig, 'FIN 1');
    rig.host.splice(1);
    const download = new Download(rig);
    await rig.until(() => {
      download.turn(2);
      return download.hasFin && server.ended === 1;
    });
    await said(rig, 'CLOSED 0 eof');
    expect(server.errors).toEqual([]);
  });

  test('keeps the FIN that the host has sent, and the answer still comes', async () => {
    using server = await tcpServer();
    using rig = await dialed(server);
    rig.host.write('question', 1);
    rig.host.fin(1);
    rig.host.splice(1);
    await rig.until(() => {
      rig.turn();
      return server.ended === 1;
    });
    server.sockets[0]?.end(served(0, 10));
    const download = new Download(rig);
    await rig.until(() => {
      download.turn();
      return download.hasFin;
    });
    expect(download.length).toBe(10);
  });

  test('outlives the script host, and tells its successor nothing', async () => {
    using server = await tcpServer();
    using rig = await dialed(server);
    rig.host.splice(1);
    rig.turn();
    rig.setHost(undefined);
    rig.setHost(2);
    rig.turn(() => rig.peer.sends('P. 1:101(100) ack 1 win 512'));
    await rig.until(() => server.length() === 100);
    server.sockets[0]?.resetAndDestroy();
    await rig.until(() => rig.ended.length === 1);
    expect(rig.ended).toEqual(['upstream-reset']);
    rig.turn();
    expect(rig.host.take()).toEqual(['STARTED']);
  });

  test('lost on its way to a host that died is an end like any other', async () => {
    using server = await tcpServer();
    using rig = await dialed(server);
    rig.turn(() => rig.peer.sends('. 1:1(0) ack 1 win 0'));
    for (let at = 0; at < 65_536; at += 16_384) rig.host.write(served(at, at + 16_384));
    rig.host.splice(1);
    rig.turn();
    rig.setHost(undefined);
    expect(rig.ended).toEqual(['script-failed']);
    rig.turn();
    expect(rig.stack.slabs.bytesUsed).toBe(0);
  });

  test('ends with a reset beyond its bytes', async () => {
    using server = await tcpServer();
    using rig = await dialed(server);
    rig.host.splice(1, { max: 1000 });
    rig.turn();
    rig.turn(() => rig.peer.sends('P. 1:1401(1400) ack 1 win 512'));
    rig.turn();
    await said(rig, 'CLOSED 0 limit');
  });

  test('ends when it is silent for its time', async () => {
    using server = await tcpServer();
    using rig = await dialed(server);
    rig.host.splice(1, { idle: 40 });
    rig.turn(() => rig.peer.sends('P. 1:11(10) ack 1 win 512'));
    await said(rig, 'CLOSED 0 idle');
    await rig.until(() => server.errors.includes('ECONNRESET'));
  });

  test('ends when one half is silent for its time', async () => {
    using server = await tcpServer();
    using rig = await dialed(server);
    rig.host.splice(1, { half: 40 });
    rig.turn();
    rig.turn(() => rig.peer.sends('F. 1:11(10) ack 1 win 512'));
    await said(rig, 'CLOSED 0 half-close-timeout');
  });

  test('with a socket that has failed meanwhile ends the conn', async () => {
    using server = await tcpServer();
    using rig = await dialed(server);
    server.sockets[0]?.resetAndDestroy();
    await Bun.sleep(20);
    rig.host.splice(1);
    await said(rig, 'CLOSED 0 upstream-reset');
    expect(rig.counters.get(Counter.CLAIM_SOCKETS_NOW)).toBe(0);
  });

  test('with a socket whose end was told already ends the conn', async () => {
    using server = await tcpServer();
    using rig = await dialed(server);
    server.sockets[0]?.resetAndDestroy();
    await said(rig, 'CLOSED 1 upstream-reset');
    rig.host.splice(1);
    await said(rig, 'CLOSED 0 upstream-reset');
  });

  test('leaves the other sockets behind, with a reset', async () => {
    using server = await tcpServer();
    using rig = await dialed(server);
    rig.host.dial(2, to(server.port));
    await said(rig, 'DIALED 2 OK');
    await rig.until(() => server.sockets.length === 2);
    rig.host.splice(1);
    await rig.until(() => server.errors.includes('ECONNRESET'));
    expect(rig.counters.get(Counter.CLAIM_SOCKETS_NOW)).toBe(0);
    expect(rig.ended).toEqual([]);
  });

  test('with a socket that is not connected is against the rules', async () => {
    using server = await tcpServer();
    using rig = new DataPlaneRig({ port: 1 });
    rig.open();
    rig.host.take();
    rig.host.dial(1, to(server.port));
    rig.host.splice(1);
    rig.turn();
    expect(rig.ended).toEqual(['script-failed']);
  });

  test('is ended by abort', async () => {
    using server = await tcpServer();
    using rig = await dialed(server);
    rig.host.splice(1);
    rig.turn();
    rig.host.abort();
    await said(rig, 'CLOSED 0 aborted');
    await rig.until(() => server.errors.includes('ECONNRESET'));
  });

  test('is the last that the host may say but for that', async () => {
    using server = await tcpServer();
    using rig = await dialed(server);
    rig.host.splice(1);
    rig.turn();
    rig.host.write('too late');
    rig.turn();
    expect(rig.counters.get(Counter.CONN_MESSAGES_LATE)).toBe(1);
    expect(rig.ended).toEqual([]);
    expect(rig.peer.readAll().every(({ payload }) => payload.length === 0)).toBe(true);
  });
});

test('a megabyte passes a splice in each direction, byte for byte', async () => {
  using server = await tcpServer();
  using rig = await dialed(server);
  rig.host.splice(1);
  rig.turn();
  server.sockets[0]?.write(served(0, 1_000_003));
  const download = new Download(rig);
  let sent = 1;
  await rig.until(() => {
    for (let i = 0; i < 3; i++) {
      if (sent < 1_000_000) {
        rig.peer.sends(
          `P. ${sent}:${sent + 14_600}(14600) ack ${download.length + 1} win 512`,
          1460,
        );
        sent += 14_600;
      }
      download.turn(sent);
    }
    return download.length === 1_000_003 && server.length() === sent - 1;
  });
  expect(Buffer.compare(server.bytes(), client(0, sent - 1))).toBe(0);
});
