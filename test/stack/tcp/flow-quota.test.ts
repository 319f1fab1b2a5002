/** The count alone; what the stack makes of it is in forwarder.test.ts and syn-cookies.test.ts. */
import { expect, test } from 'bun:test';
import { Arena } from '../../../src/stack/arena.ts';
import { DropReason } from '../../../src/stack/drop-reason.ts';
import { FLOW_ROW_BYTES, FlowField } from '../../../src/stack/flow-row.ts';
import { HalfSipHash } from '../../../src/stack/sip-hash.ts';
import { FlowQuota } from '../../../src/stack/tcp/flow-quota.ts';
import { TCB_ROW_BYTES, Tcb, TcbFlag } from '../../../src/stack/tcp/tcb.ts';
import { writeAddress } from '../../../src/stack/wire/ip-address.ts';

const ROWS = 4;

/** A quota of two, and rows whose sources are `sources`. */
function quotaOf(sources: readonly string[]) {
  const rowBytes = FLOW_ROW_BYTES + TCB_ROW_BYTES;
  const arena = new Arena(new ArrayBuffer(ROWS * rowBytes + FlowQuota.bytes(ROWS) + 1024));
  const flowsAt = arena.take(ROWS * FLOW_ROW_BYTES);
  const tcb = new Tcb(arena.view, arena.take(ROWS * TCB_ROW_BYTES), flowsAt);
  const quota = new FlowQuota(arena, ROWS, 2, new HalfSipHash(1, 2));
  for (const [row, source] of sources.entries()) {
    const at = flowsAt + row * FLOW_ROW_BYTES;
    const family = writeAddress(source, arena.view, at + FlowField.SOURCE);
    arena.view.setUint8(at + FlowField.FAMILY, family);
    tcb.moveTo(row).clear();
  }
  const check = (row: number) => {
    const { flowAt } = tcb.moveTo(row);
    const family = arena.view.getUint8(flowAt + FlowField.FAMILY);
    return quota.check(flowAt + FlowField.SOURCE, family === 4 ? 4 : 16);
  };
  return { quota, tcb, check };
}

test('a source is full when it has as many as it may, and others are not', () => {
  const { quota, tcb, check } = quotaOf(['10.0.0.1', '10.0.0.1', '10.0.0.2']);
  quota.take(tcb.moveTo(0));
  expect(check(0)).toBe(DropReason.NONE);
  quota.take(tcb.moveTo(1));
  expect(check(0)).toBe(DropReason.FLOW_SOURCE_LIMIT);
  expect(check(2)).toBe(DropReason.NONE);
  quota.release(tcb.moveTo(0));
  expect(check(0)).toBe(DropReason.NONE);
});

test('all addresses of an IPv6 /64 are one source', () => {
  const { quota, tcb, check } = quotaOf(['fd00::1', 'fd00::2', 'fd00::3', 'fd00:0:0:1::1']);
  for (const row of [0, 1]) quota.take(tcb.moveTo(row));
  expect(check(2)).toBe(DropReason.FLOW_SOURCE_LIMIT);
  expect(check(3)).toBe(DropReason.NONE);
});

test('a connection that we dialled never counted, and its end changes nothing', () => {
  const { quota, tcb, check } = quotaOf(['10.0.0.1', '10.0.0.1', '10.0.0.1']);
  for (const row of [0, 1]) quota.take(tcb.moveTo(row));
  tcb.moveTo(2).raise(TcbFlag.OPENED);
  quota.release(tcb);
  expect(check(0)).toBe(DropReason.FLOW_SOURCE_LIMIT);
});
