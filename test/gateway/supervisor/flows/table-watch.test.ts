import { beforeEach, describe, expect, test } from 'bun:test';
import { TableWatch } from '../../../../src/gateway/supervisor/flows/table-watch.ts';
import {
  Carrier,
  FLOW_ROW_BYTES,
  FlowPhase,
  TrackBit,
  TrackState,
  VerdictCode,
} from '../../../../src/stack/flow-row.ts';
import { TcpState } from '../../../../src/stack/tcp/states.ts';
import { type FlowFields, FlowMemory } from './flow-memory.ts';

const ROWS = 4;
const SINCE = 50_000_000;
const OLD = { startedAt: SINCE - 1 };
const YOUNG = { startedAt: SINCE };
let memory: FlowMemory;
let watch: TableWatch;

beforeEach(() => {
  memory = new FlowMemory(ROWS);
  watch = new TableWatch(memory.reader, SINCE);
});

/** What is seen in the next rows: `NEW 2`. */
function seen(count = ROWS): string[] {
  const events: string[] = [];
  watch.look(count, (name, _, rowAt) => events.push(`${name} ${rowAt / FLOW_ROW_BYTES}`));
  return events;
}

describe('a look at the table', () => {
  test('sees each new flow once, and not those that were there before', () => {
    memory.put(0, OLD);
    memory.put(2, YOUNG);
    expect(seen()).toEqual(['NEW 2']);
    expect(seen()).toEqual([]);
  });

  test.each<[string, FlowFields]>([
    ['phase', { phase: FlowPhase.CLOSING }],
    ['state of our TCP', { tcpState: TcpState.CLOSE_WAIT }],
    ['tracked state', { trackState: TrackState.REPLIED }],
    ['verdict', { verdict: VerdictCode.NAT }],
    ['carrier', { carrier: Carrier.SESSION }],
    ['first reply', { trackBits: TrackBit.SEEN_REPLY }],
    ['assurance', { trackBits: TrackBit.ASSURED }],
  ])('sees a change of the %s once, whether the flow is old or new', (_, change) => {
    memory.put(0, OLD);
    memory.put(1, YOUNG);
    seen();
    memory.put(0, { ...OLD, ...change });
    memory.put(1, { ...YOUNG, ...change });
    expect(seen()).toEqual(['UPDATE 0', 'UPDATE 1']);
    expect(seen()).toEqual([]);
  });

  test('sees no update in bytes and packets', () => {
    memory.put(0, YOUNG);
    seen();
    memory.put(0, { ...YOUNG, bytesUp: 9999, packetsDown: 7, lastUsedAt: SINCE + 5 });
    expect(seen()).toEqual([]);
  });

  test('tells a row that changed hands from a flow that changed', () => {
    memory.put(0, YOUNG);
    seen();
    memory.put(0, { ...YOUNG, serial: 777, phase: FlowPhase.CLOSING });
    expect(seen()).toEqual(['NEW 0']);
  });

  test('does not see a flow that is not there yet, or is over', () => {
    memory.put(0, { ...YOUNG, phase: FlowPhase.FREE });
    memory.put(1, { ...YOUNG, phase: FlowPhase.TIME_WAIT });
    expect(seen()).toEqual([]);
    memory.put(2, YOUNG);
    seen();
    memory.put(2, { ...YOUNG, phase: FlowPhase.TIME_WAIT });
    expect(seen()).toEqual([]);
  });

  test('sees a flow that is only watched in TIME_WAIT, as it lives on there', () => {
    memory.put(0, { ...YOUNG, carrier: Carrier.NAT });
    seen();
    memory.put(0, { ...YOUNG, carrier: Carrier.NAT, phase: FlowPhase.TIME_WAIT });
    expect(seen()).toEqual(['UPDATE 0']);
  });

  test('goes on where the last one ended, and round', () => {
    for (let row = 0; row < ROWS; row++) memory.put(row, YOUNG);
    expect(seen(3)).toEqual(['NEW 0', 'NEW 1', 'NEW 2']);
    memory.put(0, { ...YOUNG, phase: FlowPhase.CLOSING });
    expect(seen(3)).toEqual(['NEW 3', 'UPDATE 0']);
    expect(seen(100)).toEqual([]);
  });
});
