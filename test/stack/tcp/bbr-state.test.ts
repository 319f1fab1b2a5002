/** The last bytes of a row, and the filter that lives in them. */
import { expect, test } from 'bun:test';
import { FLOW_ROW_BYTES } from '../../../src/stack/flow-row.ts';
import { BbrState } from '../../../src/stack/tcp/bbr-state.ts';
import { TCB_ROW_BYTES, Tcb } from '../../../src/stack/tcp/tcb.ts';
import type { Instant } from '../../../src/stack/time.ts';

const ROWS = 2;
/** The bytes of a row that are BBR's. */
const [FROM, TO] = [520, 616];

function rows() {
  const view = new DataView(new ArrayBuffer(ROWS * (TCB_ROW_BYTES + FLOW_ROW_BYTES)));
  const tcb = new Tcb(view, 0, ROWS * TCB_ROW_BYTES).moveTo(1);
  return { view, tcb, bbr: new BbrState(view, tcb) };
}

const FIELDS = Object.entries(Object.getOwnPropertyDescriptors(BbrState.prototype))
  .filter(([, { get, set }]) => get !== undefined && set !== undefined)
  .map(([name]) => name);

test('no field reaches into another, nor into the rest of the row', () => {
  const { view, bbr } = rows();
  const fields = bbr as unknown as Record<string, number>;
  expect(FIELDS.length).toBeGreaterThan(15);
  for (const [index, name] of FIELDS.entries()) fields[name] = index + 1;
  bbr.noteMinRtt(77 as Instant);
  bbr.roundCount = 8;
  for (let slot = 0; slot < 5; slot++) {
    bbr.roundCount += 2;
    bbr.takeBandwidth(1000 + slot);
  }
  for (const [index, name] of FIELDS.entries()) {
    const expected = name === 'roundCount' ? 18 : index + 1;
    expect(`${name} ${fields[name]}`).toBe(`${name} ${expected}`);
  }
  expect(bbr.minRttAge(80 as Instant)).toBe(3);
  const touched = Array.from({ length: TCB_ROW_BYTES * ROWS }, (_, at) => view.getUint8(at) !== 0);
  expect(touched.indexOf(true)).toBeGreaterThanOrEqual(TCB_ROW_BYTES + FROM);
  expect(touched.lastIndexOf(true)).toBeLessThan(TCB_ROW_BYTES + TO);
});

test('the cursor is where that of the TCB is', () => {
  const { tcb, bbr } = rows();
  bbr.delivered = 5;
  tcb.moveTo(0);
  expect(bbr.delivered).toBe(0);
});

/** Feeds one measurement each round. @returns the bandwidth behind each */
function feed(measured: readonly number[]): number[] {
  const { bbr } = rows();
  return measured.map((bytesPerSecond) => {
    bbr.takeBandwidth(bytesPerSecond);
    bbr.roundCount += 1;
    return bbr.bandwidth;
  });
}

test('the bandwidth is the most of nine or ten rounds', () => {
  for (const before of [0, 1, 2, 3]) {
    const rest = new Array<number>(before).fill(10);
    const seen = feed([...rest, 100, ...new Array<number>(12).fill(50)]).slice(before);
    const held = seen.filter((bandwidth) => bandwidth === 100).length;
    expect([9, 10]).toContain(held);
    expect(seen.slice(held)).toEqual(new Array<number>(13 - held).fill(50));
  }
});

test('more is believed at once', () => {
  expect(feed([10, 30, 20, 40])).toEqual([10, 30, 30, 40]);
});

test('rounds without a measurement forget nothing, the next one all that is old', () => {
  const { bbr } = rows();
  bbr.takeBandwidth(100);
  bbr.roundCount += 1000;
  expect(bbr.bandwidth).toBe(100);
  bbr.takeBandwidth(20);
  expect(bbr.bandwidth).toBe(20);
});

test('ages are right where the low half of the clock wraps', () => {
  const { bbr } = rows();
  const start = 2 ** 32 - 5;
  bbr.noteMinRtt(start as Instant);
  bbr.enterPhase(3, start as Instant);
  expect(bbr.minRttAge((start + 12_000_000) as Instant)).toBe(12_000_000);
  expect(bbr.phaseAge((start + 10) as Instant)).toBe(10);
  expect(bbr.phase).toBe(3);
});

test('a round with more loss events than a byte counts does not begin again at none', () => {
  const { bbr } = rows();
  for (let i = 0; i < 300; i++) bbr.lossEvents += 1;
  expect(bbr.lossEvents).toBe(255);
});
