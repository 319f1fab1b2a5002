/** When ended flows and messages reach the supervisor. */
import { expect, test } from 'bun:test';
import { allocateStruct } from '../../../src/ffi/memory.ts';
import { closeFd, receive, socketPair } from '../../../src/ffi/sockets.ts';
import { Reports } from '../../../src/gateway/dataplane/reports.ts';
import {
  FRAME_HEADER_BYTES,
  FrameKind,
  FrameReader,
} from '../../../src/gateway/messages/framing.ts';
import { COUNTERS_BYTES, Counters } from '../../../src/stack/counters.ts';
import { FLOW_ROW_BYTES } from '../../../src/stack/flow-row.ts';
import { type Instant, NEVER } from '../../../src/stack/time.ts';

const ROW = new Uint8Array(FLOW_ROW_BYTES).fill(7);
const WAIT_US = 10_000;
const at = (us: number) => us as Instant;

function setUp() {
  const [mine, theirs] = socketPair('stream');
  const reports = new Reports(new Counters(new ArrayBuffer(COUNTERS_BYTES)), mine);
  const io = allocateStruct(1024 * 1024);
  const reader = new FrameReader();
  /** Frames that have come: how many rows each has, or `message`. */
  const heard = () => {
    const all: (number | 'message')[] = [];
    for (let length = 1; length > 0; ) {
      length = receive(theirs, io.address, io.bytes.length);
      if (length <= 0) break;
      reader.push(io.bytes.subarray(0, length), (kind, body) => {
        all.push(kind === FrameKind.FLOW_ROWS ? body.length / FLOW_ROW_BYTES : 'message');
      });
    }
    return all;
  };
  return {
    ...{ reports, heard },
    [Symbol.dispose]: () => {
      closeFd(mine);
      closeFd(theirs);
    },
  };
}

test('a flow that ended waits for others, and then all cross at once', () => {
  using world = setUp();
  const { reports, heard } = world;
  expect(reports.dueAt).toBe(NEVER);
  reports.flow(ROW, 0);
  reports.flush(at(1000));
  expect(reports.dueAt).toBe(at(1000 + WAIT_US));
  reports.flow(ROW, 0);
  reports.flush(at(1000 + WAIT_US - 1));
  expect(heard()).toEqual([]);
  reports.flush(at(1000 + WAIT_US));
  expect(heard()).toEqual([2]);
  expect(reports.dueAt).toBe(NEVER);
});

test('the time begins anew with the first flow after a write', () => {
  using world = setUp();
  const { reports, heard } = world;
  reports.flow(ROW, 0);
  reports.flush(at(0));
  reports.flush(at(WAIT_US));
  reports.flow(ROW, 0);
  reports.flush(at(WAIT_US + 1));
  reports.flush(at(2 * WAIT_US));
  expect(heard()).toEqual([1]);
  reports.flush(at(2 * WAIT_US + 1));
  expect(heard()).toEqual([1]);
});

test('a message does not wait, and the flows in front of it cross before it', () => {
  using world = setUp();
  const { reports, heard } = world;
  reports.flow(ROW, 0);
  reports.flush(at(0));
  reports.message({ kind: 'ready' });
  reports.flow(ROW, 0);
  reports.flush(at(1));
  expect(heard()).toEqual([1, 'message', 1]);
});

test('many flows do not wait', () => {
  using world = setUp();
  const { reports, heard } = world;
  for (let i = 0; i < 64; i++) reports.flow(ROW, 0);
  reports.flush(at(0));
  expect(heard()).toEqual([64]);
});

test('what a full pipe has not taken goes on with the next flush, in its order', () => {
  using world = setUp();
  const { reports, heard } = world;
  let told = 0;
  while (!reports.isBehind) {
    for (let i = 0; i < 64; i++) reports.flow(ROW, 0);
    told += 64;
    reports.flush(at(0));
  }
  expect(told * FLOW_ROW_BYTES).toBeGreaterThan(64 * 1024 - FRAME_HEADER_BYTES);
  let rows = 0;
  while (reports.isBehind) {
    rows += heard().reduce<number>((sum, frame) => sum + Number(frame), 0);
    reports.flush(at(1));
  }
  rows += heard().reduce<number>((sum, frame) => sum + Number(frame), 0);
  expect(rows).toBe(told);
});
