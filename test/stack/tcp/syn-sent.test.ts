/** SYN-SENT, RFC 9293 §3.10.7.3: what the answers to our SYN do. */
import { describe, expect, test } from 'bun:test';
import { Counter } from '../../../src/stack/counters.ts';
import { TcbFlag } from '../../../src/stack/tcp/tcb.ts';
import { TcpRig } from '../../support/tcp-rig.ts';
import { inState } from '../../support/tcp-states.ts';

const SYN = 0x02;

for (const family of [4, 6] as const) {
  const mss = family === 4 ? 1460 : 1440;

  describe(`IPv${family}`, () => {
    test('SYN-ACK: the options of both sides are those of the connection', () => {
      const rig = inState('SYN-SENT', { family, timestamps: true, sack: true });
      rig.peer.sends(`S. 0:0(0) ack 1 win 1000 <mss 1400,sackOK,TS val 7 ecr 0,nop,wscale 3>`);
      rig.peer.expects('. 1:1(0) ack 1 <TS val * ecr 7>');
      expect(rig.flow.calls).toEqual(['connected']);
      const { tcb } = rig;
      expect(tcb.has(TcbFlag.SACK)).toBe(true);
      // The window of a SYN is not scaled (RFC 7323 §2.2); that of what follows is.
      expect([tcb.mss, tcb.sndScale, tcb.sndWnd]).toEqual([1400 - 12, 3, 1000]);
      rig.peer.sends('. 1:1(0) ack 1 win 1000');
      expect(rig.tcb.sndWnd).toBe(8000);
    });

    test('SYN-ACK without options: none is used, and the default MSS is taken', () => {
      const rig = inState('SYN-SENT', { family });
      rig.peer.sends('S. 0:0(0) ack 1 win 1000 <>');
      rig.peer.expects('. 1:1(0) ack 1 <>');
      const { tcb } = rig;
      expect(tcb.has(TcbFlag.SACK | TcbFlag.TIMESTAMPS | TcbFlag.SCALING)).toBe(false);
      expect([tcb.mss, tcb.sndScale]).toEqual([family === 4 ? 536 : 1220, 0]);
    });

    test('SYN-ACK: data goes both ways, and both ends close', () => {
      const rig = inState('SYN-SENT', { family });
      rig.peer.sends(rig.synAckLine);
      rig.peer.expects('. 1:1(0) ack 1');
      rig.send(100);
      rig.peer.expects('P. 1:101(100) ack 1');
      rig.peer.sends('P. 1:201(200) ack 101 win 512');
      expect(rig.flow.received).toBe(200);
      rig.peer.sends('F. 201:201(0) ack 101 win 512');
      rig.peer.expects('. 101:101(0) ack 202');
      rig.close();
      rig.peer.expects('F. 101:101(0) ack 202');
      rig.peer.sends('. 202:202(0) ack 102 win 512');
      expect(rig.flow.calls.at(-1)).toBe('closed eof by client');
      rig.expectEmpty();
    });

    test('SYN-ACK: the first bytes of the owner carry the acknowledgment', () => {
      const rig = new TcpRig({ family });
      rig.owner.reactions.connected = (row, now) => rig.owner.send(row, 100, now);
      rig.dial();
      rig.peer.expects('S 0:0(0)');
      rig.peer.sends(rig.synAckLine);
      rig.peer.expects('P. 1:101(100) ack 1');
      rig.peer.expectsNothing();
    });

    test('SYN-ACK with data: the data is delivered and acknowledged with the SYN', () => {
      const rig = inState('SYN-SENT', { family });
      rig.peer.sends('SP. 0:100(100) ack 1 win 65535 <mss 1460>');
      rig.peer.expects('. 1:1(0) ack 101');
      rig.peer.expectsNothing();
      expect(rig.flow.calls).toEqual(['connected', 'data 100']);
    });

    test('SYN-ACK with data and FIN: moves to CLOSE-WAIT', () => {
      const rig = inState('SYN-SENT', { family });
      rig.peer.sends('SFP. 0:100(100) ack 1 win 65535 <mss 1460>');
      rig.peer.expects('. 1:1(0) ack 102');
      expect(rig.flow.calls).toEqual(['connected', 'data 100', 'fin']);
      expect(rig.state).toBe('CLOSE-WAIT');
      rig.close();
      rig.peer.expects('F. 1:1(0) ack 102');
      rig.peer.sends('. 102:102(0) ack 2 win 512');
      rig.expectEmpty();
    });

    test('SYN-ACK with more data than the SYN promised: the rest comes again', () => {
      const settings = { slabBytesPerFlow: 4096 };
      const rig = inState('SYN-SENT', { family, settings });
      expect(rig.peer.last.window).toBe(4096);
      rig.peer.sends('SP. 0:5000(5000) ack 1 win 65535 <mss 1460>', mss);
      rig.peer.expects('. 1:1(0) ack 4097');
      expect(rig.flow.received).toBe(4096);
    });

    test('RST without an ACK is not believed, wherever it stands', () => {
      const rig = inState('SYN-SENT', { family });
      for (const seq of [0, 1, 77_777]) rig.peer.sends(`R ${seq}:${seq}(0)`);
      expect(rig.state).toBe('SYN-SENT');
      expect(rig.drops).toEqual({ 'no-ack': 3 });
    });

    test('RST with the ACK of our SYN: the dial was refused', () => {
      const rig = inState('SYN-SENT', { family });
      rig.peer.sends('R. 0:0(0) ack 1');
      expect(rig.flow.calls).toEqual(['closed dial-refused by upstream']);
      expect(rig.counters.get(Counter.TCP_RESETS_RECEIVED)).toBe(1);
      rig.expectEmpty();
    });

    for (const ack of [0, 2, -1, 70_000]) {
      test(`an ACK of ${ack} is answered with <SEQ=SEG.ACK><CTL=RST>, and changes nothing`, () => {
        const rig = inState('SYN-SENT', { family });
        rig.peer.sends(`S. 0:0(0) ack ${ack} win 65535 <mss 1460>`);
        rig.peer.expects(`R ${ack}:${ack}(0)`);
        rig.peer.sends(`. 0:0(0) ack ${ack} win 65535`);
        rig.peer.expects(`R ${ack}:${ack}(0)`);
        expect(rig.state).toBe('SYN-SENT');
        expect(rig.flow.calls).toEqual([]);
        // The right answer is still taken.
        rig.peer.sends(rig.synAckLine);
        rig.peer.expects('. 1:1(0) ack 1');
      });

      test(`RST with an ACK of ${ack} is dropped in silence`, () => {
        const rig = inState('SYN-SENT', { family });
        rig.peer.sends(`R. 0:0(0) ack ${ack}`);
        rig.peer.expectsNothing();
        expect(rig.state).toBe('SYN-SENT');
        expect(rig.drops).toEqual({ 'unacceptable-ack': 1 });
      });
    }
  });

  describe(`IPv${family}: simultaneous open (RFC 9293 §3.5, figure 8)`, () => {
    const crossed = (timestamps = false) => {
      const rig = inState('SYN-SENT', { family, timestamps });
      rig.peer.sends(rig.synLine);
      rig.peer.expects('S. 0:0(0) ack 1');
      expect(rig.state).toBe('SYN-RECEIVED');
      return rig;
    };

    for (const timestamps of [false, true]) {
      test(`the SYN-ACK of the other side opens it, timestamps ${timestamps}`, () => {
        const rig = crossed(timestamps);
        rig.peer.sends(rig.synAckLine.replace('win 65535', 'win 1000'));
        rig.peer.expectsNothing();
        expect(rig.state).toBe('ESTABLISHED');
        expect(rig.flow.calls).toEqual(['connected']);
        expect(rig.drops).toEqual({});
        // It is a SYN: its window is not scaled.
        expect(rig.tcb.sndWnd).toBe(1000);
      });
    }

    test('so does its ACK, when our SYN-ACK was there first', () => {
      const rig = crossed();
      rig.peer.sends('P. 1:101(100) ack 1 win 512');
      expect(rig.flow.calls).toEqual(['connected', 'data 100']);
    });

    test('the SYN-ACK of the other side again is answered with an ACK', () => {
      const rig = crossed();
      rig.peer.sends(rig.synAckLine);
      rig.peer.sends(rig.synAckLine);
      rig.peer.expects('. 1:1(0) ack 1');
      expect(rig.flow.calls).toEqual(['connected']);
    });

    test('its SYN again is answered with our SYN-ACK again', () => {
      const rig = crossed();
      rig.peer.sends(rig.synLine);
      rig.peer.expects('S. 0:0(0) ack 1');
      expect(rig.state).toBe('SYN-RECEIVED');
    });

    test('an ACK of something else is answered with a reset', () => {
      const rig = crossed();
      rig.peer.sends('S. 0:0(0) ack 5 win 65535 <mss 1460>');
      rig.peer.expects('R 5:5(0)');
      expect(rig.state).toBe('SYN-RECEIVED');
    });

    test('RST means that the dial was refused, too', () => {
      const rig = crossed();
      rig.peer.sends('R 1:1(0)');
      expect(rig.flow.calls).toEqual(['closed dial-refused by upstream']);
      rig.expectEmpty();
    });

    test('the SYN-ACK is sent again, and then the dial is given up with a reset', () => {
      const rig = crossed();
      let sent = 0;
      for (let gap = 0; rig.state === 'SYN-RECEIVED'; sent++) {
        const waited = rig.waitForFrame();
        if (rig.flow.isGone) break;
        expect(waited).toBeGreaterThan(gap);
        if (waited < 60_000) gap = waited;
        rig.peer.expects('S. 0:0(0) ack 1');
      }
      expect(sent).toBe(7);
      rig.peer.expects('R. 1:1(0) ack 1');
      expect(rig.flow.calls).toEqual(['closed dial-timeout by upstream']);
      rig.expectEmpty();
    });

    test('data on the SYN is not acknowledged, so that it comes again', () => {
      const rig = inState('SYN-SENT', { family });
      rig.peer.sends('S 0:100(100) win 65535 <mss 1460>');
      rig.peer.expects('S. 0:0(0) ack 1');
      rig.peer.sends('P. 1:101(100) ack 1 win 512');
      expect(rig.flow.calls).toEqual(['connected', 'data 100']);
    });

    test('CLOSE before it stands: the FIN follows the handshake', () => {
      const rig = crossed();
      rig.close();
      rig.peer.expectsNothing();
      rig.peer.sends('. 1:1(0) ack 1 win 512');
      rig.peer.expects('F. 1:1(0) ack 1');
      expect(rig.state).toBe('FIN-WAIT-1');
    });

    test('both of two stacks that dial each other come to stand', () => {
      const [left, right] = [new TcpRig({ family }), new TcpRig({ family, stackIss: 0xffff_ffff })];
      const ends = left.peer.options;
      const near = left.dial();
      const far = right.dial(
        right.newPeer({
          address: ends.serverAddress,
          port: ends.serverPort,
          serverAddress: ends.address,
          serverPort: ends.port,
        }),
      );
      expect([near, far]).toEqual([0, 0]);
      // Each hands the other what it has sent, until both are silent.
      for (let turn = 0; turn < 10 && left.frames.length + right.frames.length > 0; turn++) {
        const [fromLeft, fromRight] = [left.frames.splice(0), right.frames.splice(0)];
        for (const { packet } of fromLeft) right.deliver(packet);
        for (const { packet } of fromRight) left.deliver(packet);
      }
      expect([left.state, right.state]).toEqual(['ESTABLISHED', 'ESTABLISHED']);
      expect([left.flow.calls, right.flow.calls]).toEqual([['connected'], ['connected']]);
      expect(left.tcb.rcvNxt).toBe(right.tcb.sndNxt);
      expect(right.tcb.rcvNxt).toBe(left.tcb.sndNxt);
    });
  });
}

test('a peer that knows an old connection is reset, and our SYN comes again', () => {
  const rig = inState('SYN-SENT');
  // RFC 9293 §3.5.1, figure 9: the ACK of a half-open connection.
  rig.peer.sends('. 300:300(0) ack 100 win 512');
  rig.peer.expects('R 100:100(0)');
  rig.waitForFrame();
  expect(rig.peer.read()?.flags).toBe(SYN);
});
