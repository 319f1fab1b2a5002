/** The MTU of the device changes under flows that live. */
import { describe, expect, test } from 'bun:test';
import { TcpRig } from '../../support/tcp-rig.ts';

/** Payload bytes after which the device cuts what the stack sends now; the frames are taken. */
function sentSize(rig: TcpRig, length: number): number[] {
  rig.owner.send(rig.row, length, rig.now);
  return rig.frames.splice(0).map(({ gsoSize, packet }) => gsoSize || packet.length);
}

describe.each([
  [4, 40],
  [6, 60],
] as const)('IPv%i', (family, headers) => {
  test('segments become shorter, and as long as before when it is taken back', () => {
    const rig = new TcpRig({ family });
    rig.connect();
    const { stack } = rig;
    const mss = () => stack.tcb(rig.row).mss;
    expect(mss()).toBe(family === 4 ? 1460 : 1440);
    stack.setDeviceMtu(1280, rig.now);
    expect(mss()).toBe(1280 - headers);
    stack.setDeviceMtu(9000, rig.now);
    // What the client has said it takes.
    expect(mss()).toBe(1460);
    stack.setDeviceMtu(1500, rig.now);
    expect(mss()).toBe(family === 4 ? 1460 : 1440);
  });

  test('timestamps have their place in the segments', () => {
    const rig = new TcpRig({ family, timestamps: true });
    rig.connect();
    rig.stack.setDeviceMtu(1280, rig.now);
    expect(rig.stack.tcb(rig.row).mss).toBe(1280 - headers - 12);
  });

  test('a flow that begins afterwards is told of it', () => {
    const rig = new TcpRig({ family });
    rig.stack.setDeviceMtu(1300, rig.now);
    rig.owner.reactions.syn ??= (row, now) => rig.stack.accept(row, now);
    rig.peer.sends(rig.synLine);
    rig.peer.expects(`S. 0:0(0) ack 1 <mss ${1300 - headers},wscale 7>`);
  });
});

test('what is sent next is cut to it', () => {
  const rig = new TcpRig();
  rig.connect();
  rig.stack.setDeviceMtu(1280, rig.now);
  expect(sentSize(rig, 4000)).toEqual([1240]);
});
