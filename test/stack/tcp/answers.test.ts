/** When an acknowledgment goes out. */
import { describe, expect, test } from 'bun:test';
import { FULL_OFFLOAD } from '../../support/memory-device.ts';
import { TcpRig } from '../../support/tcp-rig.ts';
import { inState } from '../../support/tcp-states.ts';

const MSS = 1460;

describe('acknowledgments (RFC 9293 §3.8.6.3)', () => {
  test('of one segment wait 40 ms', () => {
    const rig = inState('ESTABLISHED');
    rig.peer.sends('P. 1:101(100) ack 1 win 512');
    rig.wait(39);
    rig.peer.expectsNothing();
    rig.wait(5);
    rig.peer.expects('. 1:1(0) ack 101');
    rig.wait(1000);
    rig.peer.expectsNothing();
  });

  test('that could not wait do not make the next one hurry', () => {
    const rig = inState('ESTABLISHED');
    rig.peer.sends('. 0:0(0) ack 1 win 512');
    rig.peer.expects('. 1:1(0) ack 1');
    rig.peer.sends('P. 1:101(100) ack 1 win 512');
    rig.peer.expectsNothing();
  });

  test('do not wait after packets were lost or came twice, sixteen times', () => {
    for (const sign of ['. 5001:5101(100) ack 1 win 512', '. 1:101(100) ack 1 win 512']) {
      const rig = inState('ESTABLISHED');
      rig.peer.sends('. 1:101(100) ack 1 win 512');
      rig.wait(44);
      rig.peer.readAll();
      rig.peer.sends(sign);
      rig.peer.expects('. 1:1(0) ack 101');
      for (let i = 0; i < 16; i++) {
        rig.peer.sends(`. ${101 + i * 100}:${201 + i * 100}(100) ack 1 win 512`);
        rig.peer.expects(`. 1:1(0) ack ${201 + i * 100}`);
      }
      if (sign.startsWith('. 5001')) continue;
      rig.peer.sends('. 1701:1801(100) ack 1 win 512');
      rig.peer.expectsNothing();
    }
  });

  test('of two full segments do not wait', () => {
    const rig = inState('ESTABLISHED');
    rig.peer.sends(`. 1:${1 + MSS}(${MSS}) ack 1 win 512`);
    rig.peer.expectsNothing();
    rig.peer.sends(`. ${1 + MSS}:${1 + 2 * MSS}(${MSS}) ack 1 win 512`);
    rig.peer.expects(`. 1:1(0) ack ${1 + 2 * MSS}`);
  });

  test('of two do not wait where one is shorter by SACK blocks, nor in a superpacket', () => {
    const rig = inState('ESTABLISHED', { timestamps: true });
    const full = MSS - 12;
    const shorter = full - 12;
    rig.peer.sends(`. 1:${1 + full}(${full}) ack 1 win 512`);
    rig.peer.expectsNothing();
    let at = 1 + full + shorter;
    rig.peer.sends(`. ${1 + full}:${at}(${shorter}) ack 1 win 512`);
    rig.peer.expects(`. 1:1(0) ack ${at}`);
    for (let i = 0; i < 3; i++) {
      rig.peer.sends(`P. ${at}:${at + 2 * full}(${2 * full}) ack 1 win 512`, full);
      at += 2 * full;
      rig.peer.expects(`. 1:1(0) ack ${at}`);
    }
  });

  test('are one for a batch of frames', () => {
    const rig = inState('ESTABLISHED');
    rig.batch(() => {
      for (let i = 0; i < 20; i++) {
        const at = 1 + i * MSS;
        rig.peer.sends(`. ${at}:${at + MSS}(${MSS}) ack 1 win 512`);
      }
    });
    rig.peer.expects(`. 1:1(0) ack ${1 + 20 * MSS}`);
    rig.peer.expectsNothing();
  });

  test('are one for each early segment of a batch, and for the one that fills the gap', () => {
    const rig = inState('ESTABLISHED');
    const sends = (index: number) => {
      const at = 1 + index * MSS;
      rig.peer.sends(`. ${at}:${at + MSS}(${MSS}) ack 1 win 512`);
    };
    // RFC 5681 §4.2: a sender without SACK counts three of them.
    rig.batch(() => {
      for (const index of [1, 2, 3]) sends(index);
    });
    for (let i = 0; i < 3; i++) rig.peer.expects('. 1:1(0) ack 1');
    rig.peer.expectsNothing();
    rig.batch(() => {
      for (const index of [0, 4, 5]) sends(index);
    });
    for (const count of [4, 5, 6]) rig.peer.expects(`. 1:1(0) ack ${1 + count * MSS}`);
    rig.peer.expectsNothing();
  });

  test('are one for each segment of a batch that came twice (RFC 2883 §4)', () => {
    const rig = inState('ESTABLISHED', { sack: true });
    rig.peer.sends('. 1:1001(1000) ack 1 win 512');
    rig.wait(50);
    rig.peer.readAll();
    rig.batch(() => {
      rig.peer.sends('. 1:501(500) ack 1 win 512');
      rig.peer.sends('. 501:1001(500) ack 1 win 512');
    });
    rig.peer.expects('. 1:1(0) ack 1001 <nop,nop,sack 1:501>');
    rig.peer.expects('. 1:1(0) ack 1001 <nop,nop,sack 501:1001>');
    rig.peer.expectsNothing();
  });

  test('of several flows in one batch all go out', () => {
    const rig = new TcpRig();
    const peers = [1, 2, 3].map((port) => rig.newPeer({ port }));
    for (const peer of peers) rig.connect(peer);
    rig.batch(() => {
      for (const peer of peers) peer.sends('F. 1:1(0) ack 1 win 512');
    });
    for (const peer of peers) peer.expects('. 1:1(0) ack 2');
  });

  test('of a flow that ends in the same batch are not sent, those of its neighbours are', () => {
    const rig = new TcpRig();
    const peers = [1, 2, 3].map((port) => rig.newPeer({ port }));
    for (const peer of peers) rig.connect(peer);
    rig.batch(() => {
      for (const peer of peers) peer.sends('F. 1:1(0) ack 1 win 512');
      peers[1]?.sends('R 2:2(0)');
    });
    peers[0]?.expects('. 1:1(0) ack 2');
    peers[1]?.expectsNothing();
    peers[2]?.expects('. 1:1(0) ack 2');
  });

  test('without the offload of checksums are summed here', () => {
    const capabilities = { ...FULL_OFFLOAD, checksumOffload: false, tso4: false, tso6: false };
    const rig = inState('ESTABLISHED', { capabilities });
    rig.peer.sends('F. 1:1(0) ack 1 win 512');
    expect(rig.frames[0]?.isPartial).toBe(false);
    rig.peer.expects('. 1:1(0) ack 2');
  });
});
