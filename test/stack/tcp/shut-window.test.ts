/** Connections that were accepted with a window of zero, for good. */
import { expect, test } from 'bun:test';
import { TcpRig } from '../../support/tcp-rig.ts';

const accepting = (rig: TcpRig): TcpRig => {
  rig.owner.reactions.syn = (row, now) => {
    rig.stack.shutWindow(row);
    rig.stack.accept(row, now);
  };
  return rig;
};

for (const family of [4, 6] as const) {
  test(`IPv${family}: nothing opens the window, whoever asks and however long`, () => {
    const rig = accepting(new TcpRig({ family, sack: true, timestamps: true }));
    rig.peer.sends(rig.synLine);
    rig.peer.expects('S. 0:0(0) ack 1 win 0');
    rig.peer.sends('. 1:1(0) ack 1 win 512');
    for (let waitedMs = 200; waitedMs < 120_000; waitedMs *= 2) {
      rig.wait(waitedMs);
      rig.peer.sends('. 1:2(1) ack 1 win 512');
      rig.peer.expects('. 1:1(0) ack 1 win 0');
    }
    expect(rig.stack.slabs.bytesUsed).toBe(0);
  });
}

test('a SYN that comes again is answered with the window of zero again', () => {
  const rig = accepting(new TcpRig());
  rig.peer.sends(rig.synLine);
  rig.peer.expects('S. 0:0(0) ack 1 win 0');
  rig.peer.sends(rig.synLine);
  rig.peer.expects('S. 0:0(0) ack 1 win 0');
});

test('what a cookie has promised is taken, and not a byte more is promised', () => {
  const rig = accepting(new TcpRig({ limits: { synCookiesFrom: 0 } }));
  const wait = 20_000;
  rig.peer.sends(rig.synLine);
  rig.peer.expects('S. 0:0(0) ack 1');
  rig.peer.sends('. 1:1(0) ack 1 win 512');
  for (let from = 1; from < 65_536; from += wait) {
    const end = Math.min(from + wait, 65_536);
    rig.peer.sends(`. ${from}:${end}(${end - from}) ack 1 win 512`, 1460);
    rig.wait(100);
  }
  expect(rig.tcb.rcvWnd).toBeLessThan(128);
  const last = rig.peer.readAll().at(-1);
  expect(last?.window).toBe(0);
  expect(rig.stack.slabs.bytesUsed).toBe(0);
});
