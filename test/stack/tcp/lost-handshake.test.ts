/** Data after a SYN-ACK that was lost; after a SYN of ours, see active-open.test.ts. */
import { describe, expect, test } from 'bun:test';
import type { TcpRig } from '../../support/tcp-rig.ts';
import { inState } from '../../support/tcp-states.ts';

/** A client that answers the SYN-ACK number `count`, 20 ms after it. */
function answered(count: number, timestamps = false, sack = true): TcpRig {
  const rig = inState('SYN-RECEIVED', { timestamps, sack });
  for (let i = 1; i < count; i++) {
    rig.waitForFrame();
    rig.peer.expects('S. 0:0(0) ack 1');
  }
  rig.wait(20);
  rig.peer.sends('. 1:1(0) ack 1 win 512');
  return rig;
}

for (const sack of [true, false]) {
  const title = sack ? 'with SACK' : 'without SACK';

  describe(`${title}: a SYN-ACK that timed out`, () => {
    for (const count of [2, 4]) {
      test(`has the data behind ${count} of them wait for 3 s (RFC 6298 §5.7)`, () => {
        const rig = answered(count, false, sack);
        rig.send(100);
        rig.peer.expects('P. 1:101(100) ack 1');
        expect(Math.round(rig.waitForFrame() / 10)).toBe(300);
        rig.peer.expects('P. 1:101(100) ack 1');
      });
    }

    test('leaves the timeout to the timestamps, which tell the round trip (RFC 7323 §4.1)', () => {
      const { tcb } = answered(3, true, sack);
      expect(Math.abs(tcb.srttUs - 20_000)).toBeLessThanOrEqual(1000);
      expect([tcb.rtoUs, tcb.backoff]).toEqual([200_000, 0]);
    });

    test('makes the first window one segment when it was lost twice, not once (RFC 6928)', () => {
      const windows = [1, 2, 3].map((count) => {
        const { tcb } = answered(count, false, sack);
        return tcb.cwnd / tcb.mss;
      });
      expect(windows).toEqual([10, 10, 1]);
    });
  });
}

test('a SYN-ACK that was sent again because the SYN was is no timeout (RFC 6298 §5.7)', () => {
  const rig = inState('SYN-RECEIVED');
  for (let i = 0; i < 3; i++) {
    rig.wait(100);
    rig.peer.sends(rig.synLine);
    rig.peer.expects('S. 0:0(0) ack 1');
  }
  rig.peer.sends('. 1:1(0) ack 1 win 512');
  expect([rig.tcb.rtoUs, rig.tcb.cwnd]).toEqual([1_000_000, 14_600]);
});
