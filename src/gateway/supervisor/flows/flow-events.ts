/**
 * The stream of what happens to flows, for those who listen. While nobody does, there is neither
 * memory nor a timer for it. DESTROY is the row that the data plane reports anyway; NEW and UPDATE
 * are found by looking at the table, so a flow that came and went between two looks has only its
 * DESTROY. All who listen read from one ring: whoever is too slow misses the oldest events, and is
 * told how many.
 */
import { FLOW_ROW_BYTES } from '../../../stack/flow-row.ts';
import type { FlowReader } from '../../../stack/layout.ts';
import type { FlowContext } from '../../flow-filter/flow-context.ts';
import { Notices } from '../notices.ts';
import { EventReader, type EventRequest } from './event-reader.ts';
import { EventRing } from './event-ring.ts';
import { TableWatch } from './table-watch.ts';

/** Each has its own JSON made. */
const READERS_MAX = 16;
/** With rows of 256 bytes 4 MiB. */
const RING_EVENTS = 16_384;
const LOOK_PERIOD_MS = 100;
/** At most some milliseconds of work; half a million rows are seen within a second. */
const ROWS_PER_LOOK = 65_536;
/** Whoever lost the connection comes back with `Last-Event-ID` within that time. */
const LINGER_MS = 10_000;

export interface FlowEventsOptions {
  readonly reader: FlowReader;
  readonly context: () => FlowContext;
  /** Rows of ended flows so far that the data plane could not report. */
  readonly lostReports: () => number;
  /** What happens to the gateway itself. */
  readonly notices?: Notices;
  readonly lookPeriodMs?: number;
  readonly lingerMs?: number;
  readonly ringEvents?: number;
}

/** There are as many listeners as there may be. */
export class TooManyReadersError extends Error {
  override readonly name = 'TooManyReadersError';
  readonly code = 'TOO_MANY_READERS';

  constructor() {
    super(`${READERS_MAX} clients listen already`);
  }
}

interface Session {
  readonly ring: EventRing;
  readonly watch: TableWatch;
  /** Tells its events from those of an earlier session. */
  readonly name: string;
  readonly timer: ReturnType<typeof setInterval>;
}

export class FlowEvents {
  readonly #options: FlowEventsOptions;
  readonly #readers = new Set<EventReader>();
  readonly #notices: Notices;
  #session: Session | undefined;
  #linger: ReturnType<typeof setTimeout> | undefined;

  constructor(options: FlowEventsOptions) {
    this.#options = options;
    this.#notices = options.notices ?? new Notices();
    this.#notices.listen(() => this.#wake());
  }

  get isWatching(): boolean {
    return this.#session !== undefined;
  }

  /** @throws TooManyReadersError */
  listen(request: EventRequest): EventReader {
    if (this.#readers.size >= READERS_MAX) throw new TooManyReadersError();
    clearTimeout(this.#linger);
    this.#session ??= this.#begin();
    const { context, lostReports } = this.#options;
    const { ring, name } = this.#session;
    const reader = new EventReader(request, {
      ring,
      notices: this.#notices,
      session: name,
      context,
      lostReports,
      onClosed: () => this.#left(reader),
    });
    this.#readers.add(reader);
    return reader;
  }

  /** Takes rows of flows that ended. */
  ended(rows: Uint8Array): void {
    if (this.#session === undefined) return;
    const { ring } = this.#session;
    const { nowUs } = this.#options.context();
    const view = new DataView(rows.buffer, rows.byteOffset, rows.byteLength);
    for (let at = 0; at + FLOW_ROW_BYTES <= rows.byteLength; at += FLOW_ROW_BYTES) {
      ring.push('DESTROY', view, at, nowUs);
    }
    this.#wake();
  }

  /** Ends all streams. */
  close(): void {
    for (const reader of [...this.#readers]) reader.close();
    this.#end();
  }

  #begin(): Session {
    const { reader, context, lookPeriodMs, ringEvents } = this.#options;
    const { nowUs, nowMs } = context();
    return {
      ring: new EventRing(ringEvents ?? RING_EVENTS),
      watch: new TableWatch(reader, nowUs),
      name: nowMs.toString(36),
      timer: setInterval(() => this.#look(), lookPeriodMs ?? LOOK_PERIOD_MS),
    };
  }

  #look(): void {
    if (this.#session === undefined) return;
    const { ring, watch } = this.#session;
    const { nowUs } = this.#options.context();
    const before = ring.next;
    watch.look(ROWS_PER_LOOK, (name, view, rowAt) => ring.push(name, view, rowAt, nowUs));
    if (ring.next > before) this.#wake();
  }

  #wake(): void {
    for (const reader of this.#readers) reader.wake();
  }

  #left(reader: EventReader): void {
    this.#readers.delete(reader);
    if (this.#readers.size > 0) return;
    clearTimeout(this.#linger);
    this.#linger = setTimeout(() => this.#end(), this.#options.lingerMs ?? LINGER_MS);
  }

  #end(): void {
    clearTimeout(this.#linger);
    clearInterval(this.#session?.timer);
    this.#session = undefined;
  }
}
