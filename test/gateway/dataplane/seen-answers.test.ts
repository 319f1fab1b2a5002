/** From the datagram that a client gets to the script host, over the real socket. */
import { expect, test } from 'bun:test';
import { allocateStruct } from '../../../src/ffi/memory.ts';
import { closeFd, receive, socketPair } from '../../../src/ffi/sockets.ts';
import { SeenAnswers } from '../../../src/gateway/dataplane/seen-answers.ts';
import { DECISION_BYTES_MAX, epochOf } from '../../../src/gateway/messages/decision.ts';
import { decodeSeenAnswer } from '../../../src/gateway/messages/seen-answers.ts';
import { Arena } from '../../../src/stack/arena.ts';
import { COUNTERS_BYTES, Counter, Counters } from '../../../src/stack/counters.ts';
import { FLOW_ROW_BYTES, FlowField } from '../../../src/stack/flow-row.ts';
import { writeAddress } from '../../../src/stack/wire/ip-address.ts';
import { dnsAnswer, POINTER, RecordType } from '../../support/dns-message.ts';
import { allocatedTypes } from '../../support/no-alloc.ts';

const EPOCH = 7;
const ANSWER = dnsAnswer({
  name: 'a.example',
  records: [{ owner: POINTER, type: RecordType.A, data: [192, 0, 2, 7] }],
});
const PAYLOAD_AT = 2 * FLOW_ROW_BYTES;

function setUp(client = '10.0.0.5') {
  const [mine, theirs] = socketPair('seqpacket');
  const arena = new Arena(new ArrayBuffer(65_536));
  const counters = new Counters(new ArrayBuffer(COUNTERS_BYTES));
  const answers = new SeenAnswers(counters, mine);
  answers.attach({ arena, rowAt: (row) => row * FLOW_ROW_BYTES });
  answers.setHost({ state: 'up', epoch: EPOCH });
  const rowAt = FLOW_ROW_BYTES;
  const family = writeAddress(client, arena.view, rowAt + FlowField.SOURCE);
  arena.view.setUint8(rowAt + FlowField.FAMILY, family);
  const io = allocateStruct(DECISION_BYTES_MAX);
  const put = (...datagrams: readonly Uint8Array[]) =>
    arena.bytes.set(Buffer.concat(datagrams), PAYLOAD_AT);
  const heard = () => {
    const length = receive(theirs, io.address, DECISION_BYTES_MAX);
    if (length <= 0) return undefined;
    expect(epochOf(io.view, 0)).toBe(EPOCH);
    const { client: of, message } = decodeSeenAnswer(io.view, 0, length)!;
    return { client: of, message: [...message] };
  };
  const [seen, lost] = [Counter.DNS_ANSWERS_SEEN, Counter.DNS_ANSWERS_LOST];
  const counts = () => [counters.get(seen), counters.get(lost)];
  return {
    ...{ answers, put, heard, counts, theirs, io },
    [Symbol.dispose]: () => {
      for (const fd of [mine, theirs]) closeFd(fd);
    },
  };
}

test.each(['10.0.0.5', 'fd00::5'])('an answer to %s crosses with its client', (client) => {
  using world = setUp(client);
  world.put(ANSWER);
  world.answers.answers(1, PAYLOAD_AT, ANSWER.length, 0);
  expect(world.heard()).toEqual({ client, message: [...ANSWER] });
  expect(world.counts()).toEqual([1, 0]);
});

test('of several in one superpacket each crosses', () => {
  using world = setUp();
  world.put(ANSWER, ANSWER, ANSWER);
  world.answers.answers(1, PAYLOAD_AT, 3 * ANSWER.length, ANSWER.length);
  for (let i = 0; i < 3; i++) expect(world.heard()?.message).toEqual([...ANSWER]);
  expect(world.heard()).toBeUndefined();
});

test('one that is longer than an Ethernet carries is cut off', () => {
  using world = setUp();
  world.put(ANSWER);
  world.answers.answers(1, PAYLOAD_AT, 4000, 0);
  expect(world.heard()?.message).toHaveLength(1500);
});

test.each([
  ['a query', { flags: 0x0100 }],
  ['an error', { flags: 0x8183 }],
  ['an update', { flags: 0xa800 }],
  ['one without a record', { records: [] }],
])('%s stays here', (_, fields) => {
  using world = setUp();
  const records = [{ owner: POINTER, type: RecordType.A, data: [192, 0, 2, 7] }];
  const message = dnsAnswer({ name: 'a.example', records, ...fields });
  world.put(message);
  world.answers.answers(1, PAYLOAD_AT, message.length, 0);
  world.answers.answers(1, PAYLOAD_AT, 5, 0);
  world.answers.answers(1, PAYLOAD_AT, 0, 0);
  expect(world.heard()).toBeUndefined();
  expect(world.counts()).toEqual([0, 0]);
});

test('a host that does not read loses answers, long before its socket is full', () => {
  using world = setUp();
  world.put(ANSWER);
  for (let i = 0; i < 5000; i++) world.answers.answers(1, PAYLOAD_AT, ANSWER.length, 0);
  const [seen = 0, lost = 0] = world.counts();
  expect(seen).toBeWithin(50, 2000);
  expect(seen + lost).toBe(5000);
  world.heard();
  world.answers.answers(1, PAYLOAD_AT, ANSWER.length, 0);
  expect(world.counts()).toEqual([seen + 1, lost]);
});

test('without a host nobody looks', () => {
  using world = setUp();
  world.answers.setHost({ state: 'down', epoch: EPOCH });
  expect(world.answers.isOn).toBe(false);
});

test('no object is made', () => {
  using world = setUp();
  world.put(ANSWER);
  const types = allocatedTypes(() => {
    world.answers.answers(1, PAYLOAD_AT, ANSWER.length, 0);
    receive(world.theirs, world.io.address, DECISION_BYTES_MAX);
  });
  expect(types).toEqual([]);
}, 60_000);
