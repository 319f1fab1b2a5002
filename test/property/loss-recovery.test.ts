/** Whatever happens to packets and to SACK, the download arrives whole, and the marks add up. */
import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { Counter } from '../../src/stack/counters.ts';
import { FlowPhase } from '../../src/stack/flow-row.ts';
import { download, type Fate, LOST } from '../support/download.ts';
import { randomNumbers } from '../support/lossy-link.ts';
import { markedBytes } from '../support/marked-bytes.ts';
import { FULL_OFFLOAD, NO_OFFLOAD } from '../support/memory-device.ts';
import type { TcpRig } from '../support/tcp-rig.ts';

interface Path {
  readonly seed: number;
  readonly lossPerMille: number;
  readonly latePerMille: number;
  readonly doublePerMille: number;
}

const anyPath: fc.Arbitrary<Path> = fc.record({
  seed: fc.nat(),
  lossPerMille: fc.constantFrom(0, 1, 10, 50, 200),
  latePerMille: fc.constantFrom(0, 0, 20, 300),
  doublePerMille: fc.constantFrom(0, 0, 20, 200),
});

function fates(path: Path): () => Fate {
  const random = randomNumbers(path.seed);
  return () => {
    if (random(1000) < path.lossPerMille) return LOST;
    const lateUs = random(1000) < path.latePerMille ? random(30_000) : 0;
    return { copies: random(1000) < path.doublePerMille ? 2 : 1, lateUs };
  };
}

/** The sums in the TCB are what the marks of the slabs say. */
function checkMarks(rig: TcpRig): void {
  if (rig.owner.flows.length === 0 || rig.flow.isGone) return;
  if (rig.tcb.phase !== FlowPhase.OPEN && rig.tcb.phase !== FlowPhase.CLOSING) return;
  const { sackedBytes, lostBytes } = rig.tcb;
  expect({ sackedBytes, lostBytes }).toEqual(markedBytes(rig));
  expect(sackedBytes + lostBytes).toBeLessThanOrEqual(rig.tcb.flightSize + 64 * rig.tcb.mss);
}

test('a download arrives whole over a path that loses, doubles and reorders both ways', () => {
  fc.assert(
    fc.property(
      fc.record({
        data: anyPath,
        acks: anyPath,
        bytes: fc.integer({ min: 1, max: 400_000 }),
        roundTripUs: fc.constantFrom(100, 4000, 50_000),
        bitsPerSecond: fc.constantFrom(2e6, 50e6, 2e9),
        queueBytes: fc.constantFrom(6000, 64_000, 1_000_000),
        mss: fc.constantFrom(88, 536, 1460),
        sack: fc.boolean(),
        timestamps: fc.boolean(),
        window: fc.constantFrom(4096, 65_536, 4_194_304),
        stackIss: fc.constantFrom(1, 0x7fff_f000, 0xffff_f000),
        capabilities: fc.constantFrom(FULL_OFFLOAD, NO_OFFLOAD),
      }),
      (run) => {
        const { sack, timestamps, mss, window, stackIss, capabilities } = run;
        const bytes = mss < 100 ? Math.min(run.bytes, 40_000) : run.bytes;
        const { rig, client } = download({
          ...run,
          bytes,
          client: { sack, timestamps, mss, window },
          rig: { sack, stackIss, capabilities },
          fate: fates(run.data),
          ackFate: fates(run.acks),
          watch: checkMarks,
        });
        expect(client.rcvNxt).toBe(bytes + 2);
        rig.stack.abort(rig.row, 18, 3, rig.now);
        rig.frames.length = 0;
        rig.expectEmpty();
      },
    ),
    { numRuns: 120, includeErrorInReport: true },
  );
}, 120_000);

test('with SACK, random loss up to 3 % costs no timeout while more is to be sent', () => {
  for (const lossPerMille of [1, 5, 10, 30]) {
    for (const timestamps of [false, true]) {
      const path = { seed: 7 + lossPerMille, lossPerMille, latePerMille: 0, doublePerMille: 0 };
      const { rig, client } = download({
        bytes: 1_000_000,
        bitsPerSecond: 100e6,
        roundTripUs: 20_000,
        queueBytes: 1e6,
        client: { timestamps },
        fate: fates(path),
      });
      expect(rig.counters.get(Counter.TCP_TIMEOUTS)).toBe(0);
      // Nothing was sent again that had arrived, but for a probe of the tail.
      expect(client.duplicates).toBeLessThanOrEqual(1);
    }
  }
}, 60_000);
