/** Ports that the stack chooses: RFC 6056. */
import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { CloseReason } from '../../../src/stack/close-reason.ts';
import { ClosedBy, FlowField } from '../../../src/stack/flow-row.ts';
import { NotOpened } from '../../../src/stack/tcp/active-open.ts';
import { TcpRig } from '../../support/tcp-rig.ts';

const PORTS = 65_536 - 1024;

function portOf(rig: TcpRig, row: number): number {
  return rig.stack.arena.view.getUint16(rig.stack.rowAt(row) + FlowField.DESTINATION_PORT, true);
}

/** Ports of `count` dials that are all abandoned at once. */
function portsOf(rig: TcpRig, count: number, peer = rig.peer): number[] {
  return Array.from({ length: count }, () => {
    const row = rig.dial(peer, { sourcePort: 0 });
    const port = portOf(rig, row);
    rig.stack.abort(row, CloseReason.DIAL_ABANDONED, ClosedBy.GATEWAY, rig.now);
    rig.frames.length = 0;
    return port;
  });
}

for (const family of [4, 6] as const) {
  describe(`IPv${family}`, () => {
    test('no port is given twice towards one peer, whatever ends in between', () => {
      fc.assert(
        fc.property(fc.array(fc.nat(9), { maxLength: 60 }), (steps) => {
          const rig = new TcpRig({ family, limits: { flows: 12 } });
          const live = new Map<number, number>();
          for (const step of steps) {
            const [oldest] = live.keys();
            if (step === 0 && oldest !== undefined) {
              rig.stack.abort(oldest, CloseReason.KILLED, ClosedBy.GATEWAY, rig.now);
              live.delete(oldest);
              continue;
            }
            const row = rig.dial(rig.peer, { sourcePort: 0 });
            if (live.size === 12) {
              expect(row).toBe(NotOpened.TABLE_FULL);
              continue;
            }
            const port = portOf(rig, row);
            expect([...live.values()]).not.toContain(port);
            expect(port).toBeGreaterThanOrEqual(1024);
            live.set(row, port);
          }
        }),
        { numRuns: 50 },
      );
    });

    test('ports that are in use, or in TIME-WAIT, are passed over', () => {
      const next = portsOf(new TcpRig({ family }), 3);
      const rig = new TcpRig({ family });
      const taken = rig.newPeer({ serverPort: next[0]! });
      rig.dial(taken);
      taken.expects('S 0:0(0)');
      taken.sends(rig.synAckLine);
      taken.expects('. 1:1(0) ack 1');
      rig.close();
      taken.expects('F. 1:1(0) ack 1');
      taken.sends('F. 1:1(0) ack 2 win 512');
      taken.expects('. 2:2(0) ack 2');
      expect(rig.state).toBe('TIME-WAIT');
      rig.dial(rig.newPeer({ serverPort: next[1]! }));
      const row = rig.dial(rig.peer, { sourcePort: 0 });
      expect(portOf(rig, row)).toBe(next[2]!);
    });

    test('a port comes again only when all others have had their turn', () => {
      const rig = new TcpRig({ family });
      const ports = portsOf(rig, PORTS + 1);
      expect(new Set(ports).size).toBe(PORTS);
      expect(Math.min(...ports)).toBe(1024);
      expect(Math.max(...ports)).toBe(65_535);
      expect(ports.at(-1)).toBe(ports[0]!);
    });

    test('peers are spread: the port towards one tells nothing of that towards another', () => {
      const counts = new Array<number>(16).fill(0);
      for (let i = 0; i < 640; i++) {
        const rig = new TcpRig({ family, limits: { flows: 1, slabBytes: 128 * 1024 } });
        const [port] = portsOf(rig, 1, rig.newPeer({ port: 1 + i }));
        counts[Math.floor(((port! - 1024) * 16) / PORTS)]! += 1;
      }
      // Forty in each sixteenth are expected; five standard deviations to both sides.
      for (const count of counts) expect(Math.abs(count - 40)).toBeLessThan(31);
    }, 30_000);
  });
}

test('the same port may lead to two peers', () => {
  const rig = new TcpRig();
  const rows = [81, 82].map((port) => rig.dial(rig.newPeer({ port })));
  expect(rows.map((row) => portOf(rig, row))).toEqual([443, 443]);
});
