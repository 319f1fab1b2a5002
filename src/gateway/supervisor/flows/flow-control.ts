/** All that an operator can ask of flows: look, count, filter, end, listen. */
import type { FlowReader } from '../../../stack/layout.ts';
import type { FlowRef } from '../../messages/control.ts';
import type { Logger } from '../log/logger.ts';
import type { Notices } from '../notices.ts';
import { type ConntrackView, viewConntrack } from './conntrack-view.ts';
import { EndedFlows } from './ended-flows.ts';
import type { EventReader, EventRequest } from './event-reader.ts';
import type { Filter } from './filter/fields.ts';
import { FlowEvents } from './flow-events.ts';
import type { FlowContext } from './flow-view.ts';
import {
  LiveFlows,
  type LiveFlowView,
  type Page,
  type PageRequest,
  viewLiveFlow,
} from './live-flows.ts';

export interface FlowControlOptions {
  readonly log: Logger;
  readonly reader: FlowReader;
  readonly context: () => FlowContext;
  /** Rows of ended flows so far that the data plane could not report. */
  readonly lostReports: () => number;
  readonly notices?: Notices;
  /** Ends flows; settles with how many of them still lived. */
  readonly kill: (flows: readonly FlowRef[]) => Promise<number>;
}

export class FlowControl {
  readonly live: LiveFlows;
  readonly ended: EndedFlows;
  readonly #events: FlowEvents;
  readonly #options: FlowControlOptions;

  constructor(options: FlowControlOptions) {
    const { log, reader, context, lostReports, notices } = options;
    this.#options = options;
    this.live = new LiveFlows(reader, context);
    this.ended = new EndedFlows(log, context);
    const listened = notices === undefined ? {} : { notices };
    this.#events = new FlowEvents({ reader, context, lostReports, ...listened });
  }

  /** Rows that the table has. */
  get capacity(): number {
    return this.live.capacity;
  }

  list(request: PageRequest): Page<LiveFlowView> {
    return this.live.page(request, viewLiveFlow);
  }

  conntrack(request: PageRequest): Page<ConntrackView> {
    return this.live.page(request, viewConntrack);
  }

  find(serial: number): LiveFlowView | undefined {
    return this.live.find(serial)?.flow;
  }

  count(filter: Filter): number {
    return this.live.count(filter);
  }

  /** False when it has ended. */
  async kill(serial: number): Promise<boolean> {
    const found = this.live.find(serial);
    if (found === undefined) return false;
    return (await this.#options.kill([{ row: found.row, serial }])) > 0;
  }

  /** Ends the flows that pass now; how many passed, and how many of them still lived. */
  async killAll(filter: Filter): Promise<{ readonly matched: number; readonly killed: number }> {
    const refs = this.live.refs(filter);
    return { matched: refs.length, killed: await this.#options.kill(refs) };
  }

  /** @throws TooManyReadersError */
  listen(request: EventRequest): EventReader {
    return this.#events.listen(request);
  }

  /** Takes rows of flows that ended. @param logged  write a line for each */
  takeEnded(rows: Uint8Array, logged: boolean): void {
    this.ended.take(rows, logged);
    this.#events.ended(rows);
  }

  /** Ends all event streams. */
  close(): void {
    this.#events.close();
  }
}
