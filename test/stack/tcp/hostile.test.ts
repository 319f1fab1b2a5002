/** What a hostile reader of the code found, each as the sequence that shows it. */
import { describe, expect, test } from 'bun:test';
import { CloseReason } from '../../../src/stack/close-reason.ts';
import { ClosedBy } from '../../../src/stack/flow-row.ts';
import { seqAdd } from '../../../src/stack/wire/seq.ts';
import { TcpRig } from '../../support/tcp-rig.ts';
import { inState } from '../../support/tcp-states.ts';

describe('hostile segments', () => {
  test('RST with payload that reaches into the window draws a challenge, not a reset', () => {
    const rig = inState('ESTABLISHED');
    rig.peer.sends('. 1:1001(1000) ack 1 win 512');
    rig.peer.readAll();
    rig.peer.sends('R. 501:1501(1000) ack 1 win 512');
    expect(rig.state).toBe('ESTABLISHED');
    rig.peer.expects('. 1:1(0) ack 1001');
  });

  test('early single bytes that the owner does not take share their slabs', () => {
    const rig = new TcpRig({ limits: { slabBytes: 8 << 20, slabBytesPerFlow: 256 << 10 } });
    rig.owner.appetite = 0;
    rig.connect();
    rig.batch(() => {
      for (let i = 1; i <= 1000; i++) rig.peer.sends(`. ${i + 1}:${i + 2}(1) ack 1 win 512`);
      rig.peer.sends('. 1:2(1) ack 1 win 512');
    });
    expect(rig.tcb.backlogBytes).toBe(1001);
    expect(rig.stack.slabs.bytesUsed).toBeLessThan(8192);
  });

  test('empty segments outside the window are answered twice a second: no loop of ACKs', () => {
    const rig = inState('ESTABLISHED', { timestamps: true });
    const old = `. 1:1(0) ack 1 win 512 <nop,nop,TS val ${rig.clock.ms - 10_000} ecr 0>`;
    for (const line of ['. -5000:-5000(0) ack 1 win 512', 'S -5000:-5000(0) win 512', old]) {
      rig.wait(1000);
      for (let i = 0; i < 50; i++) rig.peer.sends(line);
      expect(rig.peer.readAll()).toHaveLength(1);
    }
    // What carries text is no part of such a loop, and its sender needs the answer.
    for (let i = 0; i < 3; i++) rig.peer.sends('P. -99:1(100) ack 1 win 512');
    expect(rig.peer.readAll()).toHaveLength(3);
  });

  test('the timestamp of a SYN is not taken: what follows would seem old', () => {
    const rig = inState('ESTABLISHED', { timestamps: true });
    const { tsRecent } = rig.tcb;
    rig.peer.sends(`S 1:1(0) win 512 <nop,nop,TS val ${rig.clock.ms + 1_000_000} ecr 0>`);
    expect(rig.tcb.tsRecent).toBe(tsRecent);
  });

  test('bytes outside the window do not keep a silent flow alive', () => {
    const rig = inState('ESTABLISHED');
    const used = rig.tcb.lastReceivedAt;
    rig.wait(1000);
    rig.peer.sends('. 3000001:3000101(100) ack 1 win 512');
    expect(rig.tcb.lastReceivedAt).toBe(used);
  });

  test('a FIN beyond the data is forgotten when the real one arrives in order', () => {
    const rig = inState('ESTABLISHED');
    rig.peer.sends('F. 5001:5001(0) ack 1 win 512');
    rig.peer.sends('F. 1:1001(1000) ack 1 win 512');
    expect(rig.state).toBe('CLOSE-WAIT');
    expect(rig.flow.received).toBe(1000);
  });

  test('fast retransmit still works after 2 GiB without a loss', () => {
    const rig = inState('ESTABLISHED');
    rig.send(1460);
    rig.peer.readAll();
    rig.peer.sends('. 1:1(0) ack 1461 win 4096');
    expect(rig.tcb.recover).toBe(rig.tcb.sndUna);
    expect(rig.tcb.recover).toBe(seqAdd(rig.tcb.iss, 1461));
  });
});

test('abort of a row that is free does nothing', () => {
  const rig = new TcpRig();
  rig.connect();
  const { row } = rig;
  rig.peer.sends('R 1:1(0)');
  rig.stack.abort(row, CloseReason.KILLED, ClosedBy.GATEWAY, rig.now);
  rig.expectEmpty();
});

test('without TSO a superpacket is cut in place at the largest MTU', () => {
  const capabilities = {
    vnetHeader: true,
    checksumOffload: true,
    tso4: false,
    tsoEcn: false,
    uso: false,
    tso6: false,
    mtu: 30_000,
  };
  const rig = new TcpRig({ capabilities });
  rig.peer.sends('S 0:0(0) win 65535 <mss 29960,nop,wscale 7>');
  rig.accept();
  rig.peer.readAll();
  rig.peer.sends('. 1:1(0) ack 1 win 4096');
  for (let i = 0; i < 4; i++) {
    rig.send(59_920);
    const cut = rig.peer.readAll();
    expect(cut.map((segment) => segment.payload.length)).toEqual([29_960, 29_960]);
    rig.peer.sends(`. 1:1(0) ack ${1 + 59_920 * (i + 1)} win 4096`);
  }
});
