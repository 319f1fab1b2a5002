/** What all flows of a client have in common, as a number: pools choose by it. */
import { FlowField } from '../../../stack/flow-row.ts';
import { mixed } from './address.ts';

/** @param at  of the flow's row */
export function clientHash(view: DataView, at: number): number {
  const length = view.getUint8(at + FlowField.FAMILY) === 4 ? 4 : 16;
  let mix = length;
  for (let i = 0; i < length; i += 4) mix = mixed(mix ^ view.getInt32(at + FlowField.SOURCE + i));
  return mix;
}
