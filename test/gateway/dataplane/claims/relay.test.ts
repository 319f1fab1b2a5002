/** A claimed connection and one that its script dials into the device: by our TCP on both sides. */
import { describe, expect, test } from 'bun:test';
import type { SocketDial } from '../../../../src/gateway/messages/conn-encode.ts';
import { Counter } from '../../../../src/stack/counters.ts';
import { Stream, streamBytes } from '../../../support/byte-stream.ts';
import { DataPlaneRig } from '../../../support/dataplane-rig.ts';
import type { ReceivedSegment, ScriptedPeer } from '../../../support/scripted-peer.ts';

const FAR = '198.18.0.9';
const HERE = '198.18.0.80';
const SYN_ACK = 'S. 0:0(0) ack 1 win 65535 <mss 1460,sackOK,nop,wscale 7>';

const into = (ip = FAR): SocketDial => ({
  to: { ip, port: 5432, family: ip.includes(':') ? 6 : 4 },
  isIntoDevice: true,
  timeoutMs: 0,
});

function opened(): DataPlaneRig {
  const rig = new DataPlaneRig({ port: 1 });
  rig.open();
  rig.peer.readAll();
  rig.host.take();
  return rig;
}

/** The port that the stack dials from: of the SYN that lies in the device. */
function dialledFrom(rig: DataPlaneRig): number {
  for (const { packet } of rig.frames) {
    const view = new DataView(packet.buffer, packet.byteOffset);
    if (view.getUint16(22) === 5432) return view.getUint16(20);
  }
  throw new Error('no SYN came');
}

/** A conn with socket 1 into the device, whose far end has not answered yet. */
function dialing(dial = into(), from = HERE): { rig: DataPlaneRig; far: ScriptedPeer } {
  const rig = opened();
  rig.host.dial(1, dial);
  rig.turn();
  const far = rig.newPeer({
    address: dial.to.ip,
    port: 5432,
    serverAddress: from,
    serverPort: dialledFrom(rig),
    iss: 5000,
    isServer: true,
  });
  far.expects('S 0:0(0)');
  return { rig, far };
}

function dialled(): { rig: DataPlaneRig; far: ScriptedPeer } {
  const { rig, far } = dialing();
  far.sends(SYN_ACK);
  rig.turn();
  far.readAll();
  expect(rig.host.take()).toEqual(['DIALED 1 OK']);
  return { rig, far };
}

function spliced(options = {}): { rig: DataPlaneRig; far: ScriptedPeer } {
  const { rig, far } = dialled();
  rig.host.splice(1, options);
  rig.turn();
  return { rig, far };
}

const textOf = (segments: readonly ReceivedSegment[]) =>
  segments.reduce((sum, { payload }) => sum + payload.length, 0);

function expectEmpty(rig: DataPlaneRig): void {
  expect(rig.flows).toBe(0);
  expect(rig.stack.slabs.bytesUsed).toBe(0);
  expect(rig.counters.get(Counter.CLAIMS_NOW)).toBe(0);
}

describe('a dial into the device', () => {
  test('comes from the address that the client wanted, and shows whose it is', () => {
    const { rig, far } = dialing();
    using _ = rig;
    expect(rig.row(1)).toMatchObject({
      verdict: 'claim',
      service: 'script',
      decider: 'script',
      generation: 7,
      deciderIndex: 2,
    });
    far.sends(SYN_ACK);
    rig.turn();
    expect(rig.host.take()).toEqual(['DIALED 1 OK']);
    const { local, remote } = rig.host.messages.at(-1)!;
    expect(local).toStartWith(`${HERE}:`);
    expect(remote).toBe(`${FAR}:5432`);
  });

  test('comes from the address that it asks for', () => {
    const { rig } = dialing({ ...into(), bind: '198.18.0.33' }, '198.18.0.33');
    using _ = rig;
    expect(rig.row(1)?.destination.ip).toBe('198.18.0.33');
  });

  test('that is refused, or not answered, says so', async () => {
    const { rig, far } = dialing();
    using _ = rig;
    far.sends('R. 0:0(0) ack 1');
    rig.turn();
    expect(rig.host.take()).toEqual(['DIALED 1 REFUSED']);
    rig.host.dial(2, { ...into(), timeoutMs: 20 });
    rig.turn();
    await rig.until(() => rig.flows === 1);
    rig.turn();
    expect(rig.host.take()).toEqual(['DIALED 2 TIMEOUT']);
    expect(rig.flows).toBe(1);
    expect(rig.stack.slabs.bytesUsed).toBe(0);
  });

  test('to the other family than the flow has no address to come from', () => {
    using rig = opened();
    rig.host.dial(1, into('fd00::9'));
    rig.turn();
    expect(rig.host.take()).toEqual(['DIALED 1 FAILED']);
    expect(rig.flows).toBe(1);
  });

  test('to what is no host is unreachable', () => {
    using rig = opened();
    rig.host.dial(1, into('224.0.0.1'));
    rig.turn();
    expect(rig.host.take()).toEqual(['DIALED 1 UNREACHABLE']);
  });

  test('carries bytes and ends as any socket does', () => {
    const { rig, far } = dialled();
    using _ = rig;
    rig.host.write(streamBytes(Stream.CLIENT, 0, 300), 1);
    rig.host.want(1000, 1);
    rig.host.fin(1);
    rig.turn();
    expect(textOf(far.readAll())).toBe(300);
    rig.turn(() => far.sends('F. 1:201(200) ack 302 win 512'));
    expect(rig.host.take()).toEqual(['ROOM 1 300', 'DATA 1 200', 'FIN 1', 'CLOSED 1 eof']);
    expect(Buffer.compare(rig.host.data(1), streamBytes(Stream.SERVER, 0, 200))).toBe(0);
    expect(rig.ended).toEqual(['eof']);
  });

  test('is looked at, and reset by abort', () => {
    const { rig, far } = dialled();
    using _ = rig;
    rig.host.peek(1, 1, 100, 60_000, 1);
    rig.turn(() => far.sends('P. 1:21(20) ack 1 win 512'));
    expect(rig.host.take()).toEqual(['PEEKED 1 #1 20 flags 0']);
    rig.host.abort(1);
    rig.turn();
    far.expects('R. 1:1(0) ack 21');
    expect(rig.host.take()).toEqual(['CLOSED 1 aborted']);
    expect(rig.stack.slabs.bytesUsed).toBe(0);
  });

  test('goes with its conn', () => {
    const { rig, far } = dialled();
    using _ = rig;
    rig.turn(() => rig.peer.sends('R 1:1(0)'));
    far.expects('R. 1:1(0) ack 1');
    rig.turn();
    expect(rig.host.take()).toEqual(['CLOSED 0 client-reset']);
    expectEmpty(rig);
  });

  test('goes with the script host, also before it is answered', () => {
    const { rig } = dialing();
    using _ = rig;
    rig.setHost(undefined);
    rig.turn();
    expect(rig.ended.sort()).toEqual(['aborted', 'script-failed']);
    expectEmpty(rig);
  });
});

describe('a splice into the device', () => {
  test('carries bytes both ways between the two connections', () => {
    const { rig, far } = spliced();
    using _ = rig;
    expect(rig.row(0)).toMatchObject({ service: 'relay', upstream: { ip: FAR, port: 5432 } });
    rig.turn(() => rig.peer.sends('P. 1:3001(3000) ack 1 win 512', 1460));
    expect(textOf(far.readAll())).toBe(3000);
    rig.turn(() => far.sends('P. 1:2001(2000) ack 3001 win 512', 1460));
    expect(textOf(rig.peer.readAll())).toBe(2000);
    expect(rig.host.take()).toEqual([]);
    expect(rig.counters.get(Counter.CLAIMS_SPLICED)).toBe(1);
  });

  test('begins with what both sides had sent before it', () => {
    const { rig, far } = dialled();
    using _ = rig;
    rig.turn(() => rig.peer.sends('P. 1:101(100) ack 1 win 512'));
    rig.turn(() => far.sends('P. 1:51(50) ack 1 win 512'));
    rig.host.want(10);
    rig.turn();
    rig.host.write(streamBytes(Stream.CLIENT, 0, 10), 1);
    rig.host.splice(1);
    rig.turn();
    rig.turn();
    expect(textOf(far.readAll())).toBe(100);
    expect(textOf(rig.peer.readAll())).toBe(50);
  });

  test('lets what is slow on one side close the window of the other', () => {
    const { rig, far } = spliced();
    using _ = rig;
    rig.turn(() => far.sends('. 1:1(0) ack 1 win 0'));
    let next = 1;
    let kept = 0;
    let window = 1;
    while (next < 400_000 && window > 0) {
      rig.turn(() => rig.peer.sends(`P. ${next}:${next + 14_600}(14600) ack 1 win 512`, 1460));
      next += 14_600;
      const answer = rig.peer.readAll().at(-1);
      if (answer === undefined) continue;
      window = answer.window;
      kept = rig.peer.relativeAck(answer) - 1;
    }
    expect(kept).toBeLessThan(200_000);
    let got = 0;
    for (let i = 0; i < 60 && got < kept; i++) {
      for (const segment of far.readAll()) {
        got = Math.max(got, far.relative(segment) - 1 + segment.payload.length);
      }
      rig.turn(() => far.sends(`. 1:1(0) ack ${got + 1} win 512`));
    }
    expect(got).toBe(kept);
    expect(rig.stack.slabs.bytesUsed).toBe(0);
    expect(rig.peer.readAll().at(-1)?.window).toBeGreaterThan(500);
  });

  test('half-closes both ways, and the host hears of the end', () => {
    const { rig, far } = spliced();
    using _ = rig;
    rig.turn(() => rig.peer.sends('F. 1:101(100) ack 1 win 512'));
    const [segment] = far.readAll().slice(-1);
    expect((segment?.flags ?? 0) & 1).toBe(1);
    rig.turn(() => far.sends('P. 1:31(30) ack 102 win 512'));
    expect(textOf(rig.peer.readAll())).toBe(30);
    rig.turn(() => far.sends('F. 31:31(0) ack 102 win 512'));
    rig.turn(() => rig.peer.sends('. 102:102(0) ack 32 win 512'));
    rig.turn();
    expect(rig.host.take()).toEqual(['CLOSED 0 eof']);
    expect(rig.host.messages.at(-1)?.raw).toMatchObject({ bytesUp: 100, bytesDown: 30 });
    expect(rig.ended).toEqual(['eof', 'eof']);
    expect(rig.stack.slabs.bytesUsed).toBe(0);
  });

  test('passes a reset on, from either side', () => {
    const one = spliced();
    using _one = one.rig;
    one.rig.turn(() => one.rig.peer.sends('R 1:1(0)'));
    one.far.expects('R. 1:1(0) ack 1');
    one.rig.turn();
    expect(one.rig.host.take()).toEqual(['CLOSED 0 client-reset']);
    expectEmpty(one.rig);
    const two = spliced();
    using _two = two.rig;
    two.rig.turn(() => two.far.sends('R 1:1(0)'));
    two.rig.peer.expects('R. 1:1(0) ack 1');
    two.rig.turn();
    expect(two.rig.host.take()).toEqual(['CLOSED 0 upstream-reset']);
    expectEmpty(two.rig);
  });

  test('ends with a reset beyond its bytes', () => {
    const { rig, far } = spliced({ max: 1000 });
    using _ = rig;
    rig.turn(() => rig.peer.sends('P. 1:1401(1400) ack 1 win 512'));
    rig.turn();
    rig.turn();
    expect(rig.host.take()).toEqual(['CLOSED 0 limit']);
    expect(far.readAll().some(({ flags }) => (flags & 4) !== 0)).toBe(true);
    expectEmpty(rig);
  });

  test('ends when it is silent for its time', async () => {
    const { rig } = spliced({ idle: 40 });
    using _ = rig;
    await rig.until(() => rig.flows === 0);
    expect(rig.ended).toEqual(['idle', 'idle']);
    rig.turn();
    expect(rig.host.take()).toEqual(['CLOSED 0 idle']);
  });

  test('outlives the script host', () => {
    const { rig, far } = spliced();
    using _ = rig;
    rig.setHost(undefined);
    rig.turn(() => rig.peer.sends('P. 1:101(100) ack 1 win 512'));
    expect(textOf(far.readAll())).toBe(100);
    expect(rig.ended).toEqual([]);
  });
});
