/** Selective acknowledgments of what arrives early or twice: RFC 2018, RFC 2883. */
import { describe, expect, test } from 'bun:test';
import { CloseReason } from '../../../src/stack/close-reason.ts';
import { ClosedBy } from '../../../src/stack/flow-row.ts';
import { permutations } from '../../support/permutations.ts';
import { TcpRig } from '../../support/tcp-rig.ts';
import { inState } from '../../support/tcp-states.ts';

/** Segment of 500 bytes by its number, as in the examples of RFC 2018 §7 and RFC 2883 §4. */
const segment = (index: number, length = 500) => {
  const start = 1 + index * 500;
  return `. ${start}:${start + length}(${length}) ack 1 win 512`;
};

const block = (from: number, to: number) => `${1 + from * 500}:${1 + to * 500}`;

const withSack = (options = {}) => inState('ESTABLISHED', { sack: true, ...options });

/** Sends the segment and expects an ACK that says so. */
function arrives(rig: TcpRig, index: number, acked: number, blocks: string): void {
  rig.peer.sends(segment(index));
  const options = blocks === '' ? '' : `sack ${blocks}`;
  rig.peer.expects(`. 1:1(0) ack ${1 + acked * 500} <${options}>`);
}

describe('negotiation (RFC 2018 §2)', () => {
  for (const timestamps of [false, true]) {
    test(`SACK-permitted is answered when offered, timestamps ${timestamps}`, () => {
      const rig = inState('LISTEN', { sack: true, timestamps });
      rig.accept();
      const words = rig.peer.expects('S. 0:0(0) ack 1').options;
      expect(words).toContain('sackOK');
    });
  }

  test('without the offer there is no option on the SYN-ACK, and no block ever', () => {
    const rig = new TcpRig();
    rig.owner.reactions.syn = (row, now) => rig.stack.accept(row, now);
    rig.peer.sends('S 0:0(0) win 65535 <mss 1460>');
    rig.peer.expects('S. 0:0(0) ack 1 <mss *>');
    rig.peer.sends('. 1:1(0) ack 1 win 512');
    arrives(rig, 1, 0, '');
    arrives(rig, 1, 0, '');
    arrives(rig, 0, 2, '');
  });
});

describe('blocks (RFC 2018 §4)', () => {
  test('first segment lost, seven arrive: one block that grows (§7, case 2)', () => {
    const rig = withSack();
    for (let i = 1; i <= 7; i++) arrives(rig, i, 0, block(1, i + 1));
    arrives(rig, 0, 8, '');
  });

  test('every other segment lost: the newest block stands first (§7, case 3)', () => {
    const rig = withSack();
    rig.peer.sends(segment(0));
    arrives(rig, 2, 1, block(2, 3));
    arrives(rig, 4, 1, `${block(4, 5)} ${block(2, 3)}`);
    arrives(rig, 6, 1, `${block(6, 7)} ${block(4, 5)} ${block(2, 3)}`);
    arrives(rig, 3, 1, `${block(2, 5)} ${block(6, 7)}`);
    arrives(rig, 1, 5, block(6, 7));
    arrives(rig, 5, 7, '');
  });

  test('timestamps leave room for three, the header without them for four', () => {
    for (const timestamps of [false, true]) {
      const rig = withSack({ timestamps });
      for (let i = 1; i < 12; i += 2) rig.peer.sends(segment(i));
      const words = rig.peer.readAll().at(-1)?.options ?? [];
      const sack = words.find((word) => word.startsWith('sack')) ?? '';
      expect(sack.split(' ')).toHaveLength(1 + (timestamps ? 3 : 4));
    }
  });

  test('in any order: every block lies in what arrived, the first holds what came last', () => {
    for (const order of permutations([0, 1, 2, 3, 4, 5])) {
      const rig = withSack();
      const arrived = new Set<number>();
      for (const index of order) {
        rig.peer.sends(segment(index));
        arrived.add(index);
        rig.wait(44);
        const words = rig.peer.readAll().at(-1)?.options ?? [];
        const edges = words
          .join(' ')
          .match(/\d+/g)
          ?.map((edge) => (Number(edge) - 1_000_001) / 500);
        const acked = (rig.tcb.rcvNxt - 1_000_001) / 500;
        if (index < acked) continue;
        for (let i = 0; i < (edges?.length ?? 0); i += 2) {
          for (let at = edges![i]!; at < edges![i + 1]!; at++) expect(arrived).toContain(at);
        }
        expect(edges![0]!).toBeLessThanOrEqual(index);
        expect(edges![1]!).toBeGreaterThan(index);
        expect(arrived).not.toContain(edges![0]! - 1);
        expect(arrived).not.toContain(edges![1]!);
      }
      expect(rig.flow.received).toBe(3000);
      expect(rig.tcb.rcvSackCount).toBe(0);
    }
  });

  test('data carries them too, cut so that each packet fits the device', () => {
    const rig = withSack();
    rig.peer.sends(segment(1));
    rig.peer.readAll();
    rig.send(3000);
    const { gsoSize } = rig.peer.expects(`P. 1:3001(3000) ack 1 <sack ${block(1, 2)}>`);
    expect(gsoSize).toBe(1460 - 12);
  });

  test('a segment that found no memory is not reported', () => {
    const rig = withSack();
    const { slabs } = rig.stack;
    while (slabs.take(100) >= 0);
    arrives(rig, 1, 0, '');
  });

  test('a reset carries none', () => {
    const rig = withSack();
    rig.peer.sends(segment(1));
    rig.peer.readAll();
    rig.stack.abort(rig.row, CloseReason.KILLED, ClosedBy.GATEWAY, rig.now);
    rig.peer.expects('R. 1:1(0) ack 1 <>');
  });

  test('a FIN ends them', () => {
    const rig = withSack();
    rig.peer.sends(segment(1));
    rig.peer.readAll();
    rig.peer.sends('F. 1:1(0) ack 1 win 512');
    rig.peer.expects('. 1:1(0) ack 2 <>');
  });
});

describe('what arrives twice (RFC 2883 §4)', () => {
  test('below the acknowledgment is reported once, in front', () => {
    const rig = withSack();
    rig.peer.sends(segment(0));
    rig.peer.sends(segment(1));
    rig.wait(44);
    rig.peer.readAll();
    arrives(rig, 0, 2, block(0, 1));
    rig.peer.sends(segment(2));
    rig.wait(44);
    rig.peer.expects(`. 1:1(0) ack 1501 <>`);
  });

  test('among early bytes comes with the block around it (§4.2.2)', () => {
    const rig = withSack();
    arrives(rig, 2, 0, block(2, 3));
    arrives(rig, 3, 0, block(2, 4));
    arrives(rig, 6, 0, `${block(6, 7)} ${block(2, 4)}`);
    arrives(rig, 3, 0, `${block(3, 4)} ${block(2, 4)} ${block(6, 7)}`);
  });

  test('in part is reported in part', () => {
    const rig = withSack();
    rig.peer.sends(segment(0));
    rig.peer.sends(segment(0, 1000));
    rig.wait(44);
    rig.peer.expects(`. 1:1(0) ack 1001 <sack ${block(0, 1)}>`);
    expect(rig.flow.received).toBe(1000);
  });

  test('a keep-alive is no duplicate', () => {
    const rig = withSack();
    rig.peer.sends('. 0:0(0) ack 1 win 512');
    rig.peer.expects('. 1:1(0) ack 1 <>');
  });
});
