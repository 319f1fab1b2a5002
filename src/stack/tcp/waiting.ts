/** A look at what the owner has not taken yet; nothing of it is consumed. */
import { NO_SLAB, SLAB_PAYLOAD_AT, SlabField } from '../slab-pool.ts';
import type { TcpContext } from './context.ts';
import { TcbFlag } from './tcb.ts';

/** The peer's FIN has arrived, and with it everything before. */
export const hasAllText = (tcp: TcpContext, row: number): boolean =>
  tcp.tcb.moveTo(row).has(TcbFlag.FIN_RECEIVED);

/**
 * Hands over what waits, in slabs that are linked by NEXT and now the caller's: for a connection
 * that is about to be freed.
 *
 * @returns the first slab, or NO_SLAB
 */
export function takeWaiting(tcp: TcpContext, row: number): number {
  const tcb = tcp.tcb.moveTo(row);
  const head = tcb.backlogHead;
  tcb.backlogHead = tcb.backlogTail = NO_SLAB;
  tcb.backlogBytes = 0;
  return head;
}

/** Copies the first bytes that wait to `into`, `max` at most. @returns how many */
export function copyWaiting(
  tcp: TcpContext,
  row: number,
  into: Uint8Array,
  at: number,
  max: number,
): number {
  const { view, bytes } = tcp.arena;
  let copied = 0;
  let slabAt = tcp.tcb.moveTo(row).backlogHead;
  while (slabAt !== NO_SLAB && copied < max) {
    const taken = view.getUint32(slabAt + SlabField.TAKEN, true);
    const length = view.getUint32(slabAt + SlabField.LENGTH, true) - taken;
    const part = Math.min(length, max - copied);
    const from = slabAt + SLAB_PAYLOAD_AT + taken;
    into.set(bytes.subarray(from, from + part), at + copied);
    copied += part;
    slabAt = view.getInt32(slabAt + SlabField.NEXT, true);
  }
  return copied;
}
