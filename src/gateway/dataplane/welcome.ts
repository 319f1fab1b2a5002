/**
 * The welcome page: a service inside the gateway, reached by `redirect('welcome')`. It answers any
 * HTTP/1 request on the flow with one page about the flow itself, and closes. It exists to show
 * that the stack, the script and the reload work, not to serve files.
 */
import { Counter, type Counters } from '../../stack/counters.ts';
import { readFlowRow } from '../../stack/flow-row.ts';
import { NO_SLAB, SLAB_PAYLOAD_AT } from '../../stack/slab-pool.ts';
import type { Stack } from '../../stack/stack.ts';
import type { Instant } from '../../stack/time.ts';
import type { FlowService } from './flow-service.ts';

/** A request longer than this is no browser's; it is answered without being read further. */
const REQUEST_LIMIT_BYTES = 8192;
const utf8 = new TextEncoder();

interface Visit {
  /** What the script wants shown. */
  readonly note: string;
  /** Bytes of the request so far, and the last of them, to see its empty line. */
  received: number;
  tail: number;
  isHead: boolean;
  isAnswered: boolean;
}

export class Welcome implements FlowService {
  readonly #stack: Stack;
  readonly #counters: Counters;
  readonly #visits = new Map<number, Visit>();

  constructor(stack: Stack, counters: Counters) {
    this.#stack = stack;
    this.#counters = counters;
  }

  open(row: number, note: string): void {
    this.#visits.set(row, { note, received: 0, tail: 0, isHead: false, isAnswered: false });
  }

  release(row: number): void {
    this.#visits.delete(row);
  }

  /** The client speaks first; it is read to the end, and one page always has room. */
  onEstablished(): void {}
  onWaiting(): void {}
  onRoom(): void {}

  /** Reads the request up to its empty line; everything is taken. */
  onData(row: number, at: number, length: number, now: Instant): number {
    const visit = this.#visits.get(row);
    if (visit === undefined || visit.isAnswered) return length;
    const bytes = this.#stack.arena.bytes;
    if (visit.received === 0) visit.isHead = bytes[at] === 0x48;
    visit.received += length;
    for (let i = 0; i < length; i++) {
      visit.tail = (visit.tail << 8) | bytes[at + i]! | 0;
      // CR LF CR LF, or LF LF of a client typed by hand.
      if (visit.tail === 0x0d0a0d0a || (visit.tail & 0xffff) === 0x0a0a) {
        this.#answer(row, visit, now);
        return length;
      }
    }
    if (visit.received > REQUEST_LIMIT_BYTES) this.#answer(row, visit, now);
    return length;
  }

  onFin(row: number, now: Instant): void {
    const visit = this.#visits.get(row);
    if (visit === undefined || visit.isAnswered) return;
    if (visit.received > 0) this.#answer(row, visit, now);
    else this.#stack.close(row, now);
  }

  #answer(row: number, visit: Visit, now: Instant): void {
    visit.isAnswered = true;
    const text = this.#response(row, visit);
    const slabAt = this.#stack.slabs.take(text.length);
    if (slabAt !== NO_SLAB) {
      this.#stack.arena.bytes.set(text, slabAt + SLAB_PAYLOAD_AT);
      // A page fits the initial window of every client: it leaves in one go.
      this.#stack.transmit(row, slabAt, text.length, now);
    }
    this.#stack.close(row, now);
  }

  #response(row: number, visit: Visit): Uint8Array {
    const flow = readFlowRow(this.#stack.arena.view, this.#stack.rowAt(row));
    const answered = this.#counters.get(Counter.DECISIONS_ANSWERED);
    const facts =
      flow === undefined
        ? []
        : [
            ['flow', flow.serial.toString(36)],
            ['from', `${flow.source.ip} port ${flow.source.port}`],
            ['to', `${flow.destination.ip} port ${flow.destination.port}`],
            ['verdict', `${flow.verdict}, decided in ${flow.decisionUs} µs`],
            ['script generation', String(flow.generation)],
            ['decisions so far', String(answered)],
          ];
    const width = Math.max(...facts.map(([name = '']) => name.length));
    const lines = facts.map(([name = '', value = '']) => `  ${name.padEnd(width)}  ${value}`);
    const body = `${visit.note}\n\n${lines.join('\n')}\n`;
    const head = [
      'HTTP/1.1 200 OK',
      'Content-Type: text/plain; charset=utf-8',
      `Content-Length: ${utf8.encode(body).length}`,
      'Cache-Control: no-store',
      'Connection: close',
      'Server: culvert',
    ];
    return utf8.encode(`${head.join('\r\n')}\r\n\r\n${visit.isHead ? '' : body}`);
  }
}
