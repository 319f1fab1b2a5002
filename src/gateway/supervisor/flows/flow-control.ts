/** All that an operator can ask of flows: look, count, filter, end, listen, capture. */
import type { FlowNote } from '../../../scripts-runtime/flow-note.ts';
import { FLOW_ROW_BYTES, FlowField } from '../../../stack/flow-row.ts';
import type { FlowReader } from '../../../stack/layout.ts';
import type { Filter } from '../../flow-filter/fields.ts';
import type { FlowContext } from '../../flow-filter/flow-context.ts';
import { flowId } from '../../flow-filter/flow-id.ts';
import type { CaptureOrder, FlowRef } from '../../messages/control.ts';
import { noteRing } from '../../messages/flow-notes.ts';
import type { Capture, CaptureRequest } from '../capture/capture.ts';
import { Captures } from '../capture/captures.ts';
import type { Sockets } from '../data-plane.ts';
import type { Logger } from '../log/logger.ts';
import type { Notices } from '../notices.ts';
import { type ConntrackView, viewConntrack } from './conntrack-view.ts';
import { EndedFlows } from './ended-flows.ts';
import type { EventReader, EventRequest } from './event-reader.ts';
import { FlowEvents } from './flow-events.ts';
import { type FlowInfoView, viewSocket } from './flow-info.ts';
import { FlowNotes } from './flow-notes.ts';
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
  /** What the kernel knows of the upstream sockets of flows. */
  readonly inspect: (flows: readonly FlowRef[]) => Promise<Sockets>;
  /** Packets that the data planes copy for captures, and how many they had no room for. */
  readonly rings: readonly ArrayBuffer[];
  readonly lostCaptured: () => number;
  /** Flows that there may be; the table may have more rows. */
  readonly limit: () => number;
  /** What script hosts and we share: notes about flows lie there. */
  readonly notes: readonly ArrayBuffer[];
  /** Tells the data planes what to copy. */
  readonly capture: (orders: readonly CaptureOrder[]) => void;
  /** Of the device. */
  readonly mtu: () => number;
}

export class FlowControl {
  readonly live: LiveFlows;
  readonly ended: EndedFlows;
  readonly #events: FlowEvents;
  readonly #captures: Captures;
  readonly #notes: FlowNotes;
  readonly #options: FlowControlOptions;

  constructor(options: FlowControlOptions) {
    const { log, reader, lostReports, notices } = options;
    this.#options = options;
    const notes = new FlowNotes(options.notes.map(noteRing), 2 * reader.capacity);
    this.#notes = notes;
    const noteOf = (serial: number) => notes.of(serial);
    const context = (): FlowContext => {
      notes.read();
      return { ...options.context(), noteOf };
    };
    this.live = new LiveFlows(reader, context);
    this.ended = new EndedFlows(log, context);
    const listened = notices === undefined ? {} : { notices };
    this.#events = new FlowEvents({ reader, context, lostReports, ...listened });
    this.#captures = new Captures({
      memories: options.rings,
      mtu: options.mtu,
      context,
      lost: options.lostCaptured,
      order: options.capture,
    });
  }

  /** Notes about flows so far that found no room. */
  get notesLost(): number {
    return this.#notes.lost;
  }

  /** Flows that there may be. */
  get limit(): number {
    return this.#options.limit();
  }

  list(request: PageRequest): Page<LiveFlowView> {
    return this.live.page(request, viewLiveFlow);
  }

  /** As `list`, with both ends of each connection. */
  async info(request: PageRequest): Promise<Page<FlowInfoView>> {
    const refs: FlowRef[] = [];
    const { items, next } = this.live.page(request, (flow, context, row) => {
      refs.push({ row, serial: flow.serial });
      const tcp = this.live.connection(row, flow, context.nowUs);
      return { ...viewLiveFlow(flow, context), tcp };
    });
    const sockets = new Map(
      (await this.#options.inspect(refs)).map(({ serial, socket }) => [flowId(serial), socket]),
    );
    const infos = items.map((item) => {
      const socket = sockets.get(item.id);
      return socket === undefined ? item : { ...item, socket: viewSocket(socket) };
    });
    return next === undefined ? { items: infos } : { items: infos, next };
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

  /** Begins to copy packets. @throws FilterError, TooManyCapturesError */
  capture(request: CaptureRequest): Capture {
    return this.#captures.start(request);
  }

  /** What is known of a flow beside its row; of one that ended, for a while. */
  readonly noteOf = (serial: number): FlowNote | undefined => this.#notes.of(serial);

  /** Takes rows of flows that ended. @param logged  write a line for each */
  takeEnded(rows: Uint8Array, logged: boolean): void {
    // A note that is read after the end of its flow would be taken for that of a flow that lives.
    this.#notes.read();
    this.ended.take(rows, logged);
    this.#events.ended(rows);
    const view = new DataView(rows.buffer, rows.byteOffset, rows.byteLength);
    for (let at = 0; at + FLOW_ROW_BYTES <= rows.byteLength; at += FLOW_ROW_BYTES) {
      this.#notes.ended(view.getFloat64(at + FlowField.SERIAL, true));
    }
  }

  /** Ends all event streams and captures. */
  close(): void {
    this.#events.close();
    this.#captures.close();
    this.#notes.close();
  }
}
