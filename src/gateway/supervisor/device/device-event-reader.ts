/** Events of the device as text of server-sent events, for one client. */
import { EventStream, KEEPALIVE_MS } from '../event-stream.ts';
import type { DeviceEvent, DeviceEvents } from './device-events.ts';

const KEEPALIVE = ': keep-alive\n\n';

export class DeviceEventReader {
  readonly #events: DeviceEvents;
  readonly #keepaliveMs: number;
  /** Number of the event that is to be sent next. */
  #next: number;
  readonly #stream = new EventStream(KEEPALIVE, {
    read: () => this.#read(),
    onClosed: () => this.#events.left(this),
  });

  /** @param lastId  of the event that the client saw last; absent: it wants those to come */
  constructor(events: DeviceEvents, lastId: string | undefined, keepaliveMs = KEEPALIVE_MS) {
    this.#events = events;
    this.#keepaliveMs = keepaliveMs;
    this.#next = lastId === undefined ? events.next : nextAfter(events, lastId);
  }

  /** As `EventStream.next`. */
  next(): Promise<string | undefined> {
    return this.#stream.next(this.#keepaliveMs);
  }

  wake(): void {
    this.#stream.wake();
  }

  close(): void {
    this.#stream.close();
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
