/** ECN, RFC 3168: how it is agreed on, and the receiver's side. */
import { describe, expect, test } from 'bun:test';
import { CloseReason } from '../../../src/stack/close-reason.ts';
import { Counter } from '../../../src/stack/counters.ts';
import { ClosedBy } from '../../../src/stack/flow-row.ts';
import { TcbFlag } from '../../../src/stack/tcp/tcb.ts';
import { fragmentOf, piecesOf } from '../../support/fragments.ts';
import { FULL_OFFLOAD, NO_OFFLOAD } from '../../support/memory-device.ts';
import { parseSegment } from '../../support/segment-text.ts';
import { type RigOptions, TcpRig } from '../../support/tcp-rig.ts';
import { inState } from '../../support/tcp-states.ts';

const ECT_0 = 2;
const CE = 3;
const SYN = 'S 0:0(0) win 65535 <mss 1460,nop,wscale 7>';
const ECN_SYN = `SEW${SYN.slice(1)}`;

/** A rig that accepts every SYN at once. */
function acceptingRig(options: RigOptions = {}): TcpRig {
  const rig = new TcpRig(options);
  rig.owner.reactions.syn = (row, now) => rig.stack.accept(row, now);
  return rig;
}

/** Whether new data is sent as ECN-capable. */
function sendsEct(rig: TcpRig): boolean {
  rig.send(100);
  return rig.peer.read()?.ecn === ECT_0;
}

describe('the handshake (§6.1.1)', () => {
  for (const family of [4, 6] as const) {
    test(`IPv${family}: a SYN with ECE and CWR is answered with ECE, and data is ECT(0)`, () => {
      const rig = acceptingRig({ family });
      rig.peer.sends(ECN_SYN);
      expect(rig.peer.expects('SE. 0:0(0) ack 1').ecn).toBe(0);
      rig.peer.sends('. 1:1(0) ack 1 win 512');
      expect(sendsEct(rig)).toBe(true);
    });
  }

  for (const [flags, why] of [
    ['S', 'without flags'],
    ['SE', 'with ECE alone'],
    ['SW', 'with CWR alone'],
  ] as const) {
    test(`a SYN ${why} gets a connection without ECN`, () => {
      const rig = acceptingRig();
      rig.peer.sends(`${flags}${SYN.slice(1)}`);
      rig.peer.expects('S. 0:0(0) ack 1');
      rig.peer.sends('. 1:1(0) ack 1 win 512');
      expect(sendsEct(rig)).toBe(false);
      rig.peer.sends('P. 1:101(100) ack 101 win 512', 0, CE);
      rig.wait(44);
      rig.peer.expects('. 101:101(0) ack 101');
      expect(rig.counters.get(Counter.ECN_MARKED)).toBe(0);
    });
  }

  for (const ecn of [true, false]) {
    test(`who decides sees what the SYN asks for, with ECN switched ${ecn ? 'on' : 'off'}`, () => {
      const rig = new TcpRig({ settings: { ecn } });
      const asks = (): boolean => rig.stack.tcb(0).has(TcbFlag.ECN_SETUP);
      rig.peer.sends(ECN_SYN);
      expect(asks()).toBe(true);
      rig.peer.sends(SYN.replace('0:0', '5000:5000'));
      expect(asks()).toBe(false);
      rig.peer.sends(ECN_SYN.replace('0:0', '9000:9000'));
      expect(asks()).toBe(true);
    });
  }

  test('with ECN switched off, the SYN is taken and the answer says no', () => {
    const rig = acceptingRig({ settings: { ecn: false } });
    rig.peer.sends(ECN_SYN);
    rig.peer.expects('S. 0:0(0) ack 1');
    rig.peer.sends('. 1:1(0) ack 1 win 512');
    expect(sendsEct(rig)).toBe(false);
    rig.peer.sends('E. 1:1(0) ack 101 win 512');
    expect(rig.counters.get(Counter.ECN_WINDOW_CUTS)).toBe(0);
  });

  for (const [ecn, flags] of [
    [true, 'SE.'],
    [false, 'S.'],
  ] as const) {
    test(`a cookie keeps it, ECN ${ecn}`, () => {
      const rig = acceptingRig({
        timestamps: true,
        limits: { synCookiesFrom: 0 },
        settings: { ecn },
      });
      rig.peer.sends('SEW 0:0(0) win 65535 <mss 1460,sackOK,TS val 1 ecr 0,nop,wscale 7>');
      rig.peer.expects(`${flags} 0:0(0) ack 1`);
      rig.peer.sends('. 1:1(0) ack 1 win 512');
      expect(rig.state).toBe('ESTABLISHED');
      expect(sendsEct(rig)).toBe(ecn);
    });
  }

  for (const [before, after] of [
    [true, false],
    [false, true],
  ] as const) {
    test(`switched from ${before} to ${after}, it stays as a SYN or a cookie was answered`, () => {
      for (const synCookiesFrom of [0, 16]) {
        const rig = acceptingRig({
          timestamps: true,
          limits: { synCookiesFrom },
          settings: { ecn: before },
        });
        rig.peer.sends('SEW 0:0(0) win 65535 <mss 1460,sackOK,TS val 1 ecr 0,nop,wscale 7>');
        rig.peer.expects(`${before ? 'SE.' : 'S.'} 0:0(0) ack 1`);
        rig.stack.setTcpDefaults({ congestion: 'cubic', ecn: after });
        rig.peer.sends('. 1:1(0) ack 1 win 512');
        expect(sendsEct(rig)).toBe(before);
        const next = rig.newPeer({ port: 40_001 });
        next.sends('SEW 0:0(0) win 65535 <mss 1460,sackOK,TS val 1 ecr 0,nop,wscale 7>');
        next.expects(`${after ? 'SE.' : 'S.'} 0:0(0) ack 1`);
      }
    });
  }

  test('a SYN with AE, of a client that knows more (RFC 9768), is a SYN with ECE and CWR', () => {
    const rig = acceptingRig();
    const packet = rig.peer.packet(parseSegment(ECN_SYN));
    // AE is the lowest bit of the data offset's byte; the sum changes by as much.
    packet[20 + 12]! |= 1;
    const sum = new DataView(packet.buffer, 20 + 16);
    sum.setUint16(0, (sum.getUint16(0) + 0xffff - 0x0100) % 0xffff);
    rig.deliver(packet);
    rig.peer.expects('SE. 0:0(0) ack 1');
  });
});

describe('a path that loses packets with the flags (§6.1.1.1)', () => {
  test('a SYN that comes again without them is answered without ECE, and ECN is off', () => {
    const rig = acceptingRig();
    rig.peer.sends(ECN_SYN);
    rig.peer.expects('SE. 0:0(0) ack 1');
    rig.peer.sends(SYN);
    rig.peer.expects('S. 0:0(0) ack 1');
    rig.peer.sends('. 1:1(0) ack 1 win 512');
    expect(sendsEct(rig)).toBe(false);
  });

  test('so it is while the SYN is held', () => {
    const rig = new TcpRig();
    rig.peer.sends(ECN_SYN);
    rig.peer.sends(SYN);
    // The first one again, late.
    rig.peer.sends(ECN_SYN);
    rig.accept();
    rig.peer.expects('S. 0:0(0) ack 1');
  });

  test('a held SYN that comes again with them keeps ECN', () => {
    const rig = new TcpRig();
    rig.peer.sends(ECN_SYN);
    rig.peer.sends(ECN_SYN);
    rig.accept();
    rig.peer.expects('SE. 0:0(0) ack 1');
  });

  test('a SYN-ACK that must be sent a third time goes without ECE', () => {
    const rig = acceptingRig();
    rig.peer.sends(ECN_SYN);
    rig.peer.expects('SE. 0:0(0) ack 1');
    rig.waitForFrame();
    rig.peer.expects('SE. 0:0(0) ack 1');
    rig.waitForFrame();
    rig.peer.expects('S. 0:0(0) ack 1');
    rig.waitForFrame();
    rig.peer.expects('S. 0:0(0) ack 1');
  });

  test('repeated SYNs count as well; then data is not ECT, but a mark is still answered', () => {
    const rig = acceptingRig();
    for (const flags of ['SE.', 'SE.', 'S.']) {
      rig.peer.sends(ECN_SYN);
      rig.peer.expects(`${flags} 0:0(0) ack 1`);
    }
    rig.peer.sends('. 1:1(0) ack 1 win 512');
    expect(sendsEct(rig)).toBe(false);
    // The client may have seen one of the first two.
    rig.peer.sends('P. 1:101(100) ack 101 win 512', 0, CE);
    rig.peer.expects('E. 101:101(0) ack 101');
  });
});

describe('a mark (§6.1.3)', () => {
  const FULL_SEGMENTS = 'P. 1:2921(2920) ack 1 win 512';

  for (const family of [4, 6] as const) {
    for (const capabilities of [FULL_OFFLOAD, NO_OFFLOAD]) {
      const device = capabilities.vnetHeader ? 'with' : 'without';
      test(`IPv${family}, ${device} a vnet header: on a packet is answered with ECE`, () => {
        const rig = inState('ESTABLISHED', { family, capabilities, ecn: true });
        rig.peer.sends('P. 1:101(100) ack 1 win 512', 0, CE);
        rig.peer.expects('E. 1:1(0) ack 101');
        expect(rig.counters.get(Counter.ECN_MARKED)).toBe(1);
      });
    }

    test(`IPv${family}: on a superpacket is answered with ECE`, () => {
      const rig = inState('ESTABLISHED', { family, ecn: true });
      rig.peer.sends(FULL_SEGMENTS, 1460, CE);
      rig.peer.expects('E. 1:1(0) ack 2921');
    });

    test(`IPv${family}: on one fragment of a packet is answered with ECE (§5.3)`, () => {
      const rig = inState('ESTABLISHED', { family, ecn: true });
      const packet = rig.peer.packet(parseSegment(FULL_SEGMENTS), ECT_0);
      for (const [index, piece] of piecesOf(packet, 800).entries()) {
        rig.deliver(fragmentOf(packet, piece, 7, index === 1 ? CE : ECT_0));
      }
      rig.peer.expects('E. 1:1(0) ack 2921');
    });

    test(`IPv${family}: ECT without a mark is nothing`, () => {
      const rig = inState('ESTABLISHED', { family, ecn: true });
      rig.peer.sends(FULL_SEGMENTS, 1460, ECT_0);
      rig.wait(44);
      rig.peer.expects('. 1:1(0) ack 2921');
    });
  }

  test('is answered on every segment until one with CWR comes', () => {
    const rig = inState('ESTABLISHED', { ecn: true });
    rig.peer.sends('P. 1:101(100) ack 1 win 512', 0, CE);
    rig.peer.expects('E. 1:1(0) ack 101');
    rig.peer.sends('P. 101:201(100) ack 1 win 512', 0, ECT_0);
    rig.peer.expects('E. 1:1(0) ack 201');
    rig.send(50);
    rig.peer.expects('PE. 1:51(50) ack 201');
    rig.peer.sends('PW. 201:301(100) ack 51 win 512', 0, ECT_0);
    rig.peer.expects('. 51:51(0) ack 301');
    rig.send(50);
    rig.peer.expects('P. 51:101(50) ack 301');
  });

  test('on the packet with CWR is a new one', () => {
    const rig = inState('ESTABLISHED', { ecn: true });
    rig.peer.sends('P. 1:101(100) ack 1 win 512', 0, CE);
    rig.peer.expects('E. 1:1(0) ack 101');
    rig.peer.sends('PW. 101:201(100) ack 1 win 512', 0, CE);
    rig.peer.expects('E. 1:1(0) ack 201');
  });

  test('is not answered on a reset', () => {
    const rig = inState('ESTABLISHED', { ecn: true });
    rig.peer.sends('P. 1:101(100) ack 1 win 512', 0, CE);
    rig.peer.expects('E. 1:1(0) ack 101');
    rig.stack.abort(rig.row, CloseReason.IDLE, ClosedBy.GATEWAY, rig.now);
    rig.peer.expects('R. 1:1(0) ack 101');
  });

  test('on early text is answered', () => {
    const rig = inState('ESTABLISHED', { ecn: true });
    rig.peer.sends('P. 101:201(100) ack 1 win 512', 0, CE);
    rig.peer.expects('E. 1:1(0) ack 1');
  });

  for (const [what, line] of [
    ['a pure ACK (§6.1.4)', '. 1:1(0) ack 1 win 512'],
    ['what came before (§6.1.5)', 'P. -49:1(50) ack 1 win 512'],
    ['what lies beyond the window (§6.1.5)', 'P. 2000001:2000051(50) ack 1 win 512'],
    ['text with an ACK of what was never sent', 'P. 1:101(100) ack 9 win 512'],
  ] as const) {
    test(`on ${what} is not looked at`, () => {
      const rig = inState('ESTABLISHED', { ecn: true });
      rig.peer.sends(line, 0, CE);
      rig.peer.readAll();
      rig.peer.sends(FULL_SEGMENTS, 1460, ECT_0);
      rig.wait(44);
      rig.peer.expects('. 1:1(0) ack 2921');
      expect(rig.counters.get(Counter.ECN_MARKED)).toBe(0);
    });
  }
});
