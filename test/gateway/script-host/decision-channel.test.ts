/** Questions as they arrive at a script host, over the real socket. */
import { expect, test } from 'bun:test';
import { allocateStruct } from '../../../src/ffi/memory.ts';
import { closeFd, send, setNonBlocking, socketPair } from '../../../src/ffi/sockets.ts';
import {
  DECISION_BYTES_MAX,
  encodeDecisionCancel,
  encodeDecisionRequest,
} from '../../../src/gateway/messages/decision.ts';
import { DecisionChannel } from '../../../src/gateway/script-host/decision-channel.ts';
import { QueueIds } from '../../../src/gateway/script-host/queue-ids.ts';
import { Protocol } from '../../../src/stack/wire/protocol.ts';

const EPOCH = 3;
const addresses = new DataView(new ArrayBuffer(32));

function setUp() {
  const [mine, theirs] = socketPair('seqpacket');
  for (const fd of [mine, theirs]) setNonBlocking(fd);
  const channel = new DecisionChannel(theirs, new QueueIds(0, 1));
  channel.epoch = EPOCH;
  const { view, address } = allocateStruct(DECISION_BYTES_MAX);
  const ask = (id: number, epoch = EPOCH) => {
    const length = encodeDecisionRequest(
      ...([view, 0, id, epoch, id, Protocol.TCP, 4, addresses, 0, id % 65_536] as const),
      ...([16, 443, 1460, 7, 64, 0] as const),
    );
    expect(send(mine, address, length)).toBe(length);
  };
  const cancel = (id: number) => send(mine, address, encodeDecisionCancel(view, 0, id, EPOCH));
  /** Reads once. @returns what waits then, and whether the data plane is there */
  const read = (): [string[], boolean] => {
    const isThere = channel.read(0);
    const all: string[] = [];
    channel.work(
      {
        onRequest: (id, { source }) => all.push(`${id} from ${source.port}`),
        onCancel: (id) => all.push(`cancel ${id}`),
        onShown: (id) => all.push(`shown ${id}`),
      },
      () => true,
    );
    return [all, isThere];
  };
  return {
    ...{ ask, cancel, read, leave: () => closeFd(mine) },
    [Symbol.dispose]: () => {
      closeFd(theirs);
    },
  };
}

test('more questions than one call takes are taken in their order, each with its own flow', () => {
  using world = setUp();
  const ids = Array.from({ length: 40 }, (_, i) => i + 1);
  for (const id of ids) world.ask(id);
  expect(world.read()).toEqual([ids.map((id) => `${id} from ${id}`), true]);
  expect(world.read()).toEqual([[], true]);
  world.leave();
});

test('what is taken back in the same call is never asked', () => {
  using world = setUp();
  for (const id of [1, 2, 3]) world.ask(id);
  world.cancel(2);
  world.ask(4, EPOCH + 1);
  expect(world.read()).toEqual([['1 from 1', '3 from 3'], true]);
  world.leave();
});

test('the end of a data plane is told behind its last question', () => {
  using world = setUp();
  world.ask(1);
  world.leave();
  expect(world.read()).toEqual([['1 from 1'], false]);
});
