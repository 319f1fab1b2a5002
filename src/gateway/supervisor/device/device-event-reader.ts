/** Events of the device as text of server-sent events, for one client. */
import type { DeviceEvent, DeviceEvents } from './device-events.ts';

/** So often something is sent, that a client which is gone is noticed. */
const KEEPALIVE_MS = 15_000;
const KEEPALIVE = ': keep-alive\n\n';

export class DeviceEventReader {
  readonly #events: DeviceEvents;
  readonly #keepaliveMs: number;
  /** Number of the event that is to be sent next. */
  #next: number;
  #wake: ((isNews: boolean) => void) | undefined;
  #isClosed = false;

  /** @param lastId  of the event that the client saw last; absent: it wants those to come */
  constructor(events: DeviceEvents, lastId: string | undefined, keepaliveMs = KEEPALIVE_MS) {
    this.#events = events;
    this.#keepaliveMs = keepaliveMs;
    this.#next = lastId === undefined ? events.next : nextAfter(events, lastId);
  }

  /** The text of what has happened since; waits when that is nothing. Undefined at the end. */
  async next(): Promise<string | undefined> {
    for (;;) {
      if (this.#isClosed) return undefined;
      const text = this.#read();
      if (text !== '') return text;
      if (!(await this.#news())) return this.#isClosed ? undefined : KEEPALIVE;
    }
  }

  wake(): void {
    this.#wake?.(true);
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#wake?.(false);
    this.#events.left(this);
  }

  #news(): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const timer = setTimeout(() => resolve(false), this.#keepaliveMs);
    this.#wake = resolve;
    return promise.finally(() => {
      clearTimeout(timer);
      this.#wake = undefined;
    });
  }

  #read(): string {
    const { last, session, next } = this.#events;
    const first = last[0]?.number ?? next;
    const missed = first - this.#next;
    const gap =
      missed > 0
        ? `event: dropped\ndata: ${JSON.stringify({ event: 'dropped', count: missed })}\n\n`
        : '';
    const news = last.filter(({ number }) => number >= this.#next);
    this.#next = next;
    return gap + news.map((event) => textOf(event, session)).join('');
  }
}

/** Of an earlier run of the gateway nothing is known: all that is kept is news. */
function nextAfter({ session, next }: DeviceEvents, lastId: string): number {
  const [name, number = ''] = lastId.split('-');
  if (name !== session || !/^\d{1,15}$/.test(number)) return 1;
  return Math.min(Number(number) + 1, next);
}

function textOf({ number, at, event, state }: DeviceEvent, session: string): string {
  const { name, isUp, mtu, isHere } = state;
  const device = { name, up: isUp, mtu, tx_queue_length: state.txQueueLength, here: isHere };
  const data = { event, time: new Date(at).toISOString(), device };
  return `id: ${session}-${number}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
}
