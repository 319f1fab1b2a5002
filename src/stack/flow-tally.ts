/** Counts each flow once by its verdict: when that falls, or at its end where none has. */
import type { CounterReader, Counters } from './counters.ts';
import { COUNTED_PROTOS, FlowCount } from './flow-counts.ts';
import { FlowField, VERDICT_NAMES, VerdictCode } from './flow-row.ts';

/** Writes the verdict into the row at `at`; a second one, as of a refusal, is not counted. */
export function noteVerdict(
  counters: Counters,
  view: DataView,
  at: number,
  verdict: VerdictCode,
): void {
  const isFirst = view.getUint8(at + FlowField.VERDICT) === VerdictCode.NONE;
  view.setUint8(at + FlowField.VERDICT, verdict);
  if (isFirst) counters.countFlow(FlowCount.FLOWS, view, at);
}

/** The flow ends, for the reason that stands in its row. */
export function countEnd(counters: Counters, view: DataView, at: number): void {
  counters.close(view.getUint8(at + FlowField.CLOSE_REASON));
  if (view.getUint8(at + FlowField.VERDICT) !== VerdictCode.NONE) return;
  counters.countFlow(FlowCount.FLOWS, view, at);
}

/** Of all verdicts. @param proto  index in COUNTED_PROTOS; absent: of all protocols too */
export function flowTotal(counters: CounterReader, count: FlowCount, proto?: number): number {
  let sum = 0;
  for (const index of proto === undefined ? COUNTED_PROTOS.keys() : [proto]) {
    for (const verdict of VERDICT_NAMES.keys()) sum += counters.flows(count, verdict, index);
  }
  return sum;
}
