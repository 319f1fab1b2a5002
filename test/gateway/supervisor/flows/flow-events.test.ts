import { afterEach, describe, expect, test } from 'bun:test';
import { everyFlow, parseFilter } from '../../../../src/gateway/flow-filter/parse.ts';
import type {
  EventReader,
  EventRequest,
} from '../../../../src/gateway/supervisor/flows/event-reader.ts';
import { FLOW_EVENT_NAMES } from '../../../../src/gateway/supervisor/flows/event-ring.ts';
import {
  FlowEvents,
  TooManyReadersError,
} from '../../../../src/gateway/supervisor/flows/flow-events.ts';
import { CloseReason } from '../../../../src/stack/close-reason.ts';
import { FlowPhase } from '../../../../src/stack/flow-row.ts';
import { until } from '../support.ts';
import { FlowMemory, flowContext, NOW_US } from './flow-memory.ts';

const ROWS = 4;
const RING_EVENTS = 8;
const YOUNG = { startedAt: NOW_US };
const ALL: EventRequest = { filter: everyFlow, names: new Set(FLOW_EVENT_NAMES) };

const open: FlowEvents[] = [];
afterEach(() => {
  for (const events of open.splice(0)) events.close();
});

function setUp({ lingerMs = 60_000 } = {}) {
  const memory = new FlowMemory(ROWS);
  const lost = { reports: 3 };
  const events = new FlowEvents({
    reader: memory.reader,
    context: flowContext,
    lostReports: () => lost.reports,
    lookPeriodMs: 1,
    lingerMs,
    ringEvents: RING_EVENTS,
  });
  open.push(events);
  const end = (row: number) => {
    memory.put(row, { ...YOUNG, closeReason: CloseReason.KILLED, lastUsedAt: NOW_US });
    events.ended(memory.rowBytes(row).slice());
    memory.free(row);
  };
  return { memory, events, lost, end };
}

interface Message {
  readonly id: string | undefined;
  readonly name: string;
  readonly data: Record<string, unknown> & { readonly flow?: Record<string, unknown> };
}

/** The events of what the reader gives next, without the greeting. */
async function read(reader: EventReader): Promise<Message[]> {
  for (;;) {
    const text = await reader.next();
    if (text === undefined) throw new Error('the stream has ended');
    const blocks = text.split('\n\n').filter((block) => block.includes('data: '));
    if (blocks.length > 0) return blocks.map(parse);
  }
}

function parse(block: string): Message {
  const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(block)?.[1];
  return { id: field('id'), name: field('event') ?? '', data: JSON.parse(field('data') ?? '') };
}

const namesOf = (messages: readonly Message[]) => messages.map(({ name }) => name);

describe('events of flows', () => {
  test('are NEW, UPDATE and DESTROY, each with the flow as it is then', async () => {
    const { memory, events, end } = setUp();
    const reader = events.listen(ALL);
    memory.put(1, YOUNG);
    const [began] = await read(reader);
    expect(began?.data).toMatchObject({
      event: 'NEW',
      time: '2026-01-01T00:01:00.000Z',
      flow: { id: '2t', src: '10.0.0.1', phase: 'open', script: 'route' },
    });
    memory.put(1, { ...YOUNG, phase: FlowPhase.CLOSING });
    expect((await read(reader))[0]?.data).toMatchObject({
      event: 'UPDATE',
      flow: { id: '2t', phase: 'closing' },
    });
    end(1);
    const [ended] = await read(reader);
    expect(ended).toMatchObject({
      name: 'DESTROY',
      data: { flow: { id: '2t', close_reason: 'killed', close_by: 'none' } },
    });
  });

  test('are those that a filter and the names let pass', async () => {
    const { memory, events, end } = setUp();
    const reader = events.listen({
      filter: parseFilter('src = 10.0.0.2'),
      names: new Set(['DESTROY']),
    });
    memory.put(2, YOUNG);
    const all = events.listen(ALL);
    await read(all);
    end(1);
    end(2);
    expect((await read(reader)).map(({ data }) => [data['event'], data.flow?.['id']])).toEqual([
      ['DESTROY', '2u'],
    ]);
  });

  test('cost nothing while nobody listens', async () => {
    const { events, end, memory } = setUp({ lingerMs: 1 });
    expect(events.isWatching).toBe(false);
    memory.put(0, YOUNG);
    end(1);
    expect(events.isWatching).toBe(false);
    const reader = events.listen(ALL);
    expect(events.isWatching).toBe(true);
    reader.close();
    await until(() => !events.isWatching, 'the end of the watch');
  });

  test('for which a reader is too slow come after the number of those missed', async () => {
    const { events, end } = setUp();
    const reader = events.listen(ALL);
    for (let i = 0; i < 3 * RING_EVENTS; i++) end(i % ROWS);
    const messages = await read(reader);
    // One place of the ring is the next event's.
    const kept = RING_EVENTS - 1;
    expect(messages[0]).toEqual({
      id: undefined,
      name: 'dropped',
      data: { event: 'dropped', why: 'reader-too-slow', count: 3 * RING_EVENTS - kept },
    });
    expect(namesOf(messages.slice(1))).toEqual(Array(kept).fill('DESTROY'));
  });

  test('that the data plane could not report are said to be missing', async () => {
    const { events, end, lost } = setUp();
    const reader = events.listen(ALL);
    lost.reports += 5;
    end(1);
    const messages = await read(reader);
    expect(messages[0]?.data).toEqual({ event: 'dropped', why: 'reports-lost', count: 5 });
    expect(namesOf(messages)).toEqual(['dropped', 'DESTROY']);
  });
});

describe('a reader that comes back', () => {
  test('goes on behind the event that it saw last', async () => {
    const { events, end } = setUp();
    const first = events.listen(ALL);
    end(1);
    const [seen] = await read(first);
    first.close();
    end(2);
    const again = events.listen({ ...ALL, lastId: seen?.id ?? '' });
    expect((await read(again)).map(({ data }) => data.flow?.['id'])).toEqual(['2u']);
  });

  test.each(['other-1', 'x', '', '-'])('with the unknown id "%s" is told', async (lastId) => {
    const { events, end } = setUp();
    events.listen(ALL);
    end(1);
    const reader = events.listen({ ...ALL, lastId });
    expect(await read(reader)).toEqual([
      { id: undefined, name: 'dropped', data: { event: 'dropped', why: 'unknown-last-event-id' } },
    ]);
  });

  test('with the id of an event that is still to come is told, too', async () => {
    const { events, end } = setUp();
    const first = events.listen(ALL);
    end(1);
    const [seen] = await read(first);
    const lastId = seen?.id?.replace(/\d+$/, '999') ?? '';
    const [told] = await read(events.listen({ ...ALL, lastId }));
    expect(told?.data).toMatchObject({ why: 'unknown-last-event-id' });
  });
});

describe('readers', () => {
  test('hear something at once, and again while nothing happens', async () => {
    const { events } = setUp();
    const reader = events.listen(ALL);
    expect(await reader.next(1)).toBe('retry: 2000\n\n');
    expect(await reader.next(1)).toBe(': nothing new\n\n');
  });

  test('are as many as may be; who leaves makes room', () => {
    const { events } = setUp();
    const readers = Array.from({ length: 16 }, () => events.listen(ALL));
    expect(() => events.listen(ALL)).toThrow(TooManyReadersError);
    readers[3]?.close();
    readers[3]?.close();
    events.listen(ALL);
    expect(() => events.listen(ALL)).toThrow(TooManyReadersError);
  });

  test('of which one stays keep the events coming', async () => {
    const { events, end } = setUp({ lingerMs: 1 });
    const [leaving, staying] = [events.listen(ALL), events.listen(ALL)];
    leaving.close();
    await Bun.sleep(10);
    end(1);
    expect(namesOf(await read(staying))).toEqual(['DESTROY']);
  });

  test('are let go at the end, also those that wait', async () => {
    const { events } = setUp();
    const reader = events.listen(ALL);
    await reader.next();
    const waiting = reader.next();
    events.close();
    expect(await waiting).toBeUndefined();
    expect(await reader.next()).toBeUndefined();
    expect(events.isWatching).toBe(false);
  });
});
