import { expect, test } from 'bun:test';
import {
  callNumbers,
  FIRST_CALL,
  ScriptCalls,
} from '../../../src/scripts-runtime/script/script-calls.ts';

function made(): { calls: ScriptCalls; ended: number[] } {
  const ended: number[] = [];
  return { calls: new ScriptCalls((call) => ended.push(call)), ended };
}

const CALL = FIRST_CALL + 1;

test('numbers of calls differ, and none is that of a connection', () => {
  const next = callNumbers();
  const numbers = Array.from({ length: 1000 }, next);
  expect(new Set(numbers).size).toBe(1000);
  expect(Math.min(...numbers)).toBe(FIRST_CALL);
});

test('a decision lives in its turn, and one that waits until it is settled', () => {
  const { calls, ended } = made();
  calls.decide(CALL, () => {
    expect(calls.isLive(CALL)).toBe(true);
    return false;
  });
  expect(calls.isLive(CALL)).toBe(false);
  calls.decide(CALL + 1, () => true);
  expect(calls.isLive(CALL + 1)).toBe(true);
  calls.end(CALL + 1);
  calls.end(CALL + 1);
  expect(ended).toEqual([CALL, CALL + 1]);
});

test('waitUntil holds a call that has ended, until the last of its promises', () => {
  const { calls, ended } = made();
  calls.begin(CALL);
  calls.startWait(CALL);
  calls.startWait(CALL);
  calls.end(CALL);
  calls.endWait(CALL);
  expect(calls.isLive(CALL)).toBe(true);
  expect(ended).toEqual([]);
  calls.endWait(CALL);
  expect(ended).toEqual([CALL]);
});

test('a promise of a decision that is settled in its turn', () => {
  const { calls, ended } = made();
  calls.decide(CALL, () => {
    calls.startWait(CALL);
    return false;
  });
  expect(ended).toEqual([]);
  calls.endWait(CALL);
  expect(ended).toEqual([CALL]);
});

test('connections and turns of nobody are no calls', () => {
  const { calls, ended } = made();
  for (const of of [0, 7]) {
    calls.startWait(of);
    expect(calls.isLive(of)).toBe(false);
    calls.endWait(of);
  }
  expect(ended).toEqual([]);
});

test('with the sandbox all calls are gone, and nobody is told', () => {
  const { calls, ended } = made();
  calls.begin(CALL);
  calls.startWait(CALL + 1);
  calls.clear();
  calls.end(CALL);
  calls.endWait(CALL + 1);
  expect(calls.isLive(CALL) || calls.isLive(CALL + 1)).toBe(false);
  expect(ended).toEqual([]);
});
