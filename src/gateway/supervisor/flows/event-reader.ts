/** One listener, and where it is in the ring; it gets server-sent events, HTML Standard §9.2. */
import { readFlowRow } from '../../../stack/flow-row.ts';
import type { Filter } from '../../flow-filter/fields.ts';
import type { FlowContext } from '../../flow-filter/flow-context.ts';
import { flowId } from '../../flow-filter/flow-id.ts';
import { EventStream, KEEPALIVE_MS } from '../event-stream.ts';
import type { NoticeName, Notices } from '../notices.ts';
import type { EventRing, FlowEventName } from './event-ring.ts';
import { viewEndedFlow, viewFlow } from './flow-view.ts';

/** UTF-16 units after which a text is long enough to be sent. */
const CHUNK_LENGTH = 64 * 1024;
/** The first thing that is sent: how long a client waits before it connects again. */
const GREETING = 'retry: 2000\n\n';
const KEEPALIVE = ': nothing new\n\n';

export type EventName = FlowEventName | NoticeName;

export interface EventRequest {
  /** Of flows; notices have none. */
  readonly filter: Filter;
  readonly names: ReadonlySet<EventName>;
  /** `Last-Event-ID` of a client that comes back. */
  readonly lastId?: string;
}

export interface EventSource {
  readonly ring: EventRing;
  readonly notices: Notices;
  /** Stands in each id before the number of the event. */
  readonly session: string;
  readonly context: () => FlowContext;
  readonly lostReports: () => number;
  readonly onClosed: () => void;
}

/** Why events are missing. */
type Gap = 'reader-too-slow' | 'reports-lost' | 'unknown-last-event-id';

export class EventReader {
  readonly #request: EventRequest;
  readonly #source: EventSource;
  #next: number;
  /** Of notices. */
  #nextNotice: number;
  #lost: number;
  /** What is to be sent before the next event. */
  #text = GREETING;
  readonly #stream = new EventStream(KEEPALIVE, {
    read: () => this.#read(),
    onClosed: () => this.#source.onClosed(),
  });

  constructor(request: EventRequest, source: EventSource) {
    this.#request = request;
    this.#source = source;
    this.#lost = source.lostReports();
    const resumed = this.#resumed();
    if (request.lastId !== undefined && resumed === undefined) {
      this.#text += gapText('unknown-last-event-id');
    }
    this.#next = resumed?.event ?? source.ring.next;
    this.#nextNotice = resumed?.notice ?? source.notices.next;
  }

  /** As `EventStream.next`. */
  next(keepaliveMs = KEEPALIVE_MS): Promise<string | undefined> {
    return this.#stream.next(keepaliveMs);
  }

  /** There may be something new. */
  wake(): void {
    this.#stream.wake();
  }

  close(): void {
    this.#stream.close();
  }

  #read(): string {
    const { ring, context } = this.#source;
    this.#noteGaps();
    let text = this.#text;
    this.#text = '';
    const now = context();
    const test = this.#request.filter(now);
    while (this.#next < ring.next && text.length < CHUNK_LENGTH) {
      const event = this.#next++;
      if (!this.#request.names.has(ring.nameOf(event))) continue;
      if (test(ring.view, ring.rowAt(event))) text += this.#show(event, now);
    }
    return text + this.#readNotices();
  }

  #readNotices(): string {
    const { notices } = this.#source;
    let text = '';
    while (this.#nextNotice < notices.next) {
      const { name, data } = notices.at(this.#nextNotice++);
      if (!this.#request.names.has(name)) continue;
      text += `id: ${this.#id}\nevent: ${name}\ndata: ${data}\n\n`;
    }
    return text;
  }

  /** Where this reader is: behind the last event, and behind the last notice if there was one. */
  get #id(): string {
    const notice = this.#nextNotice > 1 ? `.${this.#nextNotice - 1}` : '';
    return `${this.#source.session}-${this.#next - 1}${notice}`;
  }

  #noteGaps(): void {
    const { ring, notices, lostReports } = this.#source;
    if (this.#nextNotice < notices.first) {
      this.#text += gapText('reader-too-slow', notices.first - this.#nextNotice);
      this.#nextNotice = notices.first;
    }
    if (this.#next < ring.first) {
      this.#text += gapText('reader-too-slow', ring.first - this.#next);
      this.#next = ring.first;
    }
    const lost = lostReports();
    if (lost > this.#lost) this.#text += gapText('reports-lost', lost - this.#lost);
    this.#lost = lost;
  }

  #show(event: number, now: FlowContext): string {
    const { ring } = this.#source;
    const flow = readFlowRow(ring.view, ring.rowAt(event));
    if (flow === undefined) return '';
    const name = ring.nameOf(event);
    const nowUs = ring.timeOf(event);
    const context = { ...now, nowUs, nowMs: now.nowMs - (now.nowUs - nowUs) / 1000 };
    const view = name === 'DESTROY' ? viewEndedFlow(flow, context) : viewFlow(flow, nowUs, context);
    const data = {
      event: name,
      time: new Date(context.nowMs).toISOString(),
      flow: { id: flowId(flow.serial), ...view },
    };
    return `id: ${this.#id}\nevent: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
  }

  /** The events after the ones that the client saw last; undefined when that is not known here. */
  #resumed(): { readonly event: number; readonly notice: number } | undefined {
    const { ring, notices, session } = this.#source;
    const id = /^(?<name>\w+)-(?<event>\d{1,15})(?:\.(?<notice>\d{1,15}))?$/;
    const { name, ...last } = id.exec(this.#request.lastId ?? '')?.groups ?? {};
    const event = Number(last['event']) + 1;
    const notice = Number(last['notice'] ?? 0) + 1;
    const isKnown = name === session && event <= ring.next && notice <= notices.next;
    return isKnown ? { event, notice } : undefined;
  }
}

/** @param count  of events that are missing, of all flows, when it is known */
const gapText = (why: Gap, count?: number): string =>
  `event: dropped\ndata: ${JSON.stringify({ event: 'dropped', why, count })}\n\n`;
