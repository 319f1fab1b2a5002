/** The end of slow start by round trips: RFC 9406 §4.2. */
import { expect, test } from 'bun:test';
import { FLOW_ROW_BYTES } from '../../../src/stack/flow-row.ts';
import {
  noteRoundTrip,
  SSTHRESH_UNKNOWN,
  slowStartGrowth,
  startHystart,
} from '../../../src/stack/tcp/hystart.ts';
import { TCB_ROW_BYTES, Tcb } from '../../../src/stack/tcp/tcb.ts';
import { seqAdd } from '../../../src/stack/wire/seq.ts';

function block(): Tcb {
  const memory = new DataView(new ArrayBuffer(TCB_ROW_BYTES + FLOW_ROW_BYTES));
  const tcb = new Tcb(memory, 0, TCB_ROW_BYTES).moveTo(0);
  tcb.clear();
  tcb.cwnd = 100_000;
  tcb.ssthresh = SSTHRESH_UNKNOWN;
  startHystart(tcb);
  return tcb;
}

/** A round of `count` samples, all alike. */
function round(tcb: Tcb, milliseconds: number, count = 8): void {
  tcb.sndUna = tcb.sndNxt;
  tcb.sndNxt = seqAdd(tcb.sndNxt, 100_000);
  for (let i = 0; i < count; i++) noteRoundTrip(tcb, milliseconds * 1000);
}

test('growth is all that was acknowledged while round trips stay as they are', () => {
  const tcb = block();
  for (let i = 0; i < 10; i++) round(tcb, 40 + (i % 2) * 4);
  expect(slowStartGrowth(tcb, 4000)).toBe(4000);
  expect(tcb.ssthresh).toBe(SSTHRESH_UNKNOWN);
});

test('a round an eighth longer than the last brings conservative slow start: a quarter', () => {
  const tcb = block();
  round(tcb, 40);
  round(tcb, 45);
  expect(slowStartGrowth(tcb, 4000)).toBe(1000);
  expect(tcb.ssthresh).toBe(SSTHRESH_UNKNOWN);
});

test('an eighth counts as 4 ms at least, and as 16 ms at most', () => {
  for (const [first, second, isSlow] of [
    [1, 4.9, false],
    [1, 5, true],
    [400, 415, false],
    [400, 416, true],
  ] as const) {
    const tcb = block();
    round(tcb, first);
    round(tcb, second);
    expect(slowStartGrowth(tcb, 4000)).toBe(isSlow ? 1000 : 4000);
  }
});

test('seven samples are too few', () => {
  const tcb = block();
  round(tcb, 40);
  round(tcb, 80, 7);
  expect(slowStartGrowth(tcb, 4000)).toBe(4000);
});

test('after five such rounds slow start is over', () => {
  const tcb = block();
  round(tcb, 40);
  for (let i = 0; i < 5; i++) round(tcb, 50);
  expect(tcb.ssthresh).toBe(SSTHRESH_UNKNOWN);
  round(tcb, 50);
  expect(tcb.ssthresh).toBe(100_000);
});

test('a shorter round says that it was an accident: slow start goes on', () => {
  const tcb = block();
  round(tcb, 40);
  round(tcb, 50);
  round(tcb, 49);
  expect(slowStartGrowth(tcb, 4000)).toBe(4000);
});

test('a later slow start, whose end is known, is not watched', () => {
  const tcb = block();
  tcb.ssthresh = 500_000;
  round(tcb, 40);
  round(tcb, 80);
  expect(slowStartGrowth(tcb, 4000)).toBe(4000);
  expect(tcb.ssthresh).toBe(500_000);
});
