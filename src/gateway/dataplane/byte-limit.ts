import { FlowField } from '../../stack/flow-row.ts';

/**
 * Whether the flow has moved more than its verdict allows, both directions together.
 *
 * @param rowAt      of the flow's row: see FlowField
 * @param uncounted  bytes that its row does not know of yet
 */
export function isOverByteLimit(view: DataView, rowAt: number, uncounted = 0): boolean {
  const limit = view.getFloat64(rowAt + FlowField.MAX_BYTES, true);
  if (limit === 0) return false;
  const up = view.getFloat64(rowAt + FlowField.BYTES_UP, true);
  return up + uncounted + view.getFloat64(rowAt + FlowField.BYTES_DOWN, true) > limit;
}
