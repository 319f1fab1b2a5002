/** Answers that come when nobody waits any more, over the real socket. */
import { expect, test } from 'bun:test';
import { sendDescriptor } from '../../../src/ffi/fd-passing.ts';
import { libc } from '../../../src/ffi/libc.ts';
import { allocateStruct, SharedMemory } from '../../../src/ffi/memory.ts';
import {
  closeFd,
  receive,
  send,
  setNonBlocking,
  shutdownWrite,
  socketPair,
} from '../../../src/ffi/sockets.ts';
import { Decisions } from '../../../src/gateway/dataplane/decisions.ts';
import { UpstreamTable } from '../../../src/gateway/dataplane/forward/upstream-table.ts';
import {
  DatagramKind,
  DECISION_BYTES_MAX,
  datagramKind,
  encodeDecisionAnswer,
  requestIdOf,
} from '../../../src/gateway/messages/decision.ts';
import type { Decision } from '../../../src/scripts-runtime/decision.ts';
import { Counter } from '../../../src/stack/counters.ts';
import type { Verdict } from '../../../src/stack/verdict.ts';
import { descriptorCount } from '../../ffi/support/descriptors.ts';
import { DataPlaneRig } from '../../support/dataplane-rig.ts';

const EPOCH = 3;
const SHUT_RD = 0;

function setUp() {
  const rig = new DataPlaneRig({ port: 1 });
  const [mine, theirs] = socketPair('seqpacket');
  for (const fd of [mine, theirs]) setNonBlocking(fd);
  const { counters, stack } = rig;
  const decisions = new Decisions(stack, new UpstreamTable(stack), counters, mine, 0);
  const io = allocateStruct(DECISION_BYTES_MAX);
  /** Kinds and requests of what the data plane has said. */
  const heard = () => {
    const all: string[] = [];
    for (;;) {
      const length = receive(theirs, io.address, DECISION_BYTES_MAX);
      if (length <= 0) return all;
      const kind = datagramKind(io.view, 0, length) === DatagramKind.CANCEL ? 'CANCEL' : 'REQUEST';
      all.push(`${kind} ${requestIdOf(io.view, 0)}`);
    }
  };
  const say = (requestId: number, verdict: Verdict, epoch = EPOCH) => {
    const decision: Decision = { kind: 'verdict', verdict, by: { generation: 1, script: 0 } };
    send(theirs, io.address, encodeDecisionAnswer(io.view, 0, requestId, epoch, decision));
  };
  const answer = (requestId: number, verdict: Verdict, epoch = EPOCH) => {
    say(requestId, verdict, epoch);
    const answered: number[] = [];
    decisions.read((row) => answered.push(row));
    return answered;
  };
  /** A row that is asked about. */
  const ask = () => {
    rig.peer.sends('S 0:0(0) win 65535 <mss 1460>');
    expect(decisions.ask(0, EPOCH)).toBe(true);
  };
  return {
    ...{ rig, counters, decisions, heard, say, answer, ask, fds: [mine, theirs] as const },
    [Symbol.dispose]: () => {
      for (const fd of [mine, theirs]) closeFd(fd);
      rig[Symbol.dispose]();
    },
  };
}

const CLAIM: Verdict = { kind: 'claim', sniff: false };

test('a claim of a flow that is gone is taken back: its script would wait for it for ever', () => {
  using world = setUp();
  world.ask();
  world.decisions.abandon(0);
  expect(world.heard()).toEqual(['REQUEST 1', 'CANCEL 1']);
  // It was on its way already.
  expect(world.answer(1, CLAIM)).toEqual([]);
  expect(world.heard()).toEqual(['CANCEL 1']);
  expect(world.counters.get(Counter.DECISIONS_LATE)).toBe(1);
});

test('what a host says to the data plane before is no answer to this one', () => {
  using world = setUp();
  const { rig, counters, fds } = world;
  const next = new Decisions(rig.stack, new UpstreamTable(rig.stack), counters, fds[0]);
  rig.peer.sends('S 0:0(0) win 65535 <mss 1460>');
  expect(next.ask(0, EPOCH)).toBe(true);
  const answered: number[] = [];
  for (const request of [1, 2]) {
    world.say(request, { kind: 'decline' });
    next.read((row) => answered.push(row));
  }
  expect(answered).toEqual([]);
});

test('other verdicts that come late need no answer, nor what another host says', () => {
  using world = setUp();
  world.ask();
  world.decisions.abandon(0);
  world.heard();
  world.answer(1, { kind: 'decline' });
  world.answer(1, CLAIM, EPOCH + 1);
  expect(world.heard()).toEqual([]);
  expect(world.counters.get(Counter.DECISIONS_LATE)).toBe(2);
});

test('an answer is for one request, and taken once', () => {
  using world = setUp();
  world.ask();
  expect(world.answer(2, CLAIM)).toEqual([]);
  expect(world.answer(65_537, CLAIM)).toEqual([]);
  expect(world.answer(1, CLAIM)).toEqual([0]);
  expect(world.answer(1, CLAIM)).toEqual([]);
  expect(world.heard()).toEqual(['REQUEST 1', 'CANCEL 2', 'CANCEL 65537', 'CANCEL 1']);
});

test('a host that passes descriptors passes none: nobody here would close them', () => {
  using world = setUp();
  using memory = SharedMemory.create('passed', 4096);
  const before = descriptorCount('memfd:passed');
  for (let i = 0; i < 40; i++) sendDescriptor(world.fds[1], memory.fd, i);
  world.decisions.read(() => {});
  expect(descriptorCount('memfd:passed')).toBe(before);
  expect(world.counters.get(Counter.DECISIONS_LATE)).toBe(40);
});

test('the end of the socket is no answer, and what was said before it is heard', () => {
  using world = setUp();
  world.ask();
  world.say(1, CLAIM);
  shutdownWrite(world.fds[1]);
  const answered: number[] = [];
  for (let turn = 0; turn < 3; turn++) world.decisions.read((row) => answered.push(row));
  expect(answered).toEqual([0]);
  expect(world.counters.get(Counter.DECISIONS_LATE)).toBe(0);
});

test('a host that takes no question is told of, and asked as one whose queue is full', () => {
  using world = setUp();
  let told = 0;
  world.decisions.onDeaf = () => void told++;
  world.ask();
  expect(told).toBe(0);
  libc.shutdown(world.fds[1], SHUT_RD);
  expect(world.decisions.ask(0, EPOCH)).toBe(false);
  expect(told).toBe(1);
});

test('a datagram without a byte is passed over, and ends nothing', () => {
  using world = setUp();
  world.ask();
  const nothing = allocateStruct(1);
  for (let i = 0; i < 3; i++) expect(send(world.fds[1], nothing.address, 0)).toBe(0);
  expect(world.answer(1, CLAIM)).toEqual([0]);
  expect(world.counters.get(Counter.DECISIONS_LATE)).toBe(0);
});
