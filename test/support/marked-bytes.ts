import { NO_SLAB, SlabField } from '../../src/stack/slab-pool.ts';
import type { TcpRig } from './tcp-rig.ts';

/**
 * Counts the marks of the send queue of the newest flow, one by one.
 *
 * @throws Error when a unit is both SACKED and LOST, or marked below SND.UNA
 */
export function markedBytes(rig: TcpRig): { sackedBytes: number; lostBytes: number } {
  const { view } = rig.stack.arena;
  const { sndUna } = rig.tcb;
  const sum = { sackedBytes: 0, lostBytes: 0 };
  let slabAt = rig.tcb.sendHead;
  while (slabAt !== NO_SLAB) {
    const word = (field: number) => view.getUint32(slabAt + field, true);
    const [unit, length] = [word(SlabField.UNIT), word(SlabField.LENGTH)];
    const has = (field: number, index: number) =>
      ((word(field + (index >>> 5) * 4) >>> (index & 31)) & 1) === 1;
    for (let index = 0; unit > 0 && index * unit < length; index++) {
      const bytes = Math.min(unit, length - index * unit);
      const [isSacked, isLost] = [has(SlabField.SACKED, index), has(SlabField.LOST, index)];
      const end = (word(SlabField.SEQ) + index * unit + bytes - sndUna) | 0;
      if (isSacked && isLost) throw new Error(`unit ${index} is both SACKED and LOST`);
      if ((isSacked || isLost) && end <= 0) throw new Error(`unit ${index} is acknowledged`);
      if (isSacked) sum.sackedBytes += bytes;
      if (isLost) sum.lostBytes += bytes;
    }
    slabAt = view.getInt32(slabAt + SlabField.NEXT, true);
  }
  return sum;
}
