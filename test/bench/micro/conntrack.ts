/**
 * `bun test/bench/micro/conntrack.ts`: half a million rewritten flows in one stack. What one costs
 * in memory and time, what reaping costs while other flows live on, and whether a million flows
 * that came and went leave anything behind. Time in the stack is simulated; the cost is real.
 */
import { heapStats } from 'bun:jsc';
import { Counter } from '../../../src/stack/counters.ts';
import { FLOW_ROW_BYTES, FlowField } from '../../../src/stack/flow-row.ts';
import { NO_FLOW } from '../../../src/stack/flow-table.ts';
import { type Duration, millis, seconds } from '../../../src/stack/time.ts';
import { nanosecondsPerCall } from './clock.ts';
import { NatStack } from './nat-stack.ts';

const CAPACITY = 524_288;
const ENTRIES = 500_000;
/** Those that go on while the others expire. */
const LIVE = 20_000;
const PACKETS_PER_TICK = 20;
const TICK = millis(1);
/** Of simulated time: the table is gone round in 60 s, and again. */
const REAPED_FOR = seconds(130);
const CHURN = 1_000_000;
/** New flows of each simulated second of the churn; UDP without an answer lives for 30 s. */
const CHURN_PER_SECOND = 5000;
/** The longest life of such a flow, and once around the table. */
const CHURN_SETTLES = seconds(190);
const BATCH = 1000;
/** A step through all flows in an order that no cache foresees: it divides none of the counts. */
const STRIDE = 40_503;

/** Results end up here, so that no call is dead code. */
let sink = 0;

const print = (what: string, value: number, unit: string): void => {
  console.log(`${what.padEnd(56)} ${value.toFixed(1).padStart(10)} ${unit}`);
};

const nat = new NatStack(CAPACITY);

print('memory of one flow, hash and mapping', NatStack.bytesPerFlow(CAPACITY), 'B');
print('  its row', FLOW_ROW_BYTES, 'B');
fill();
lookUp();
carry();
reap();
churn();
if (Number.isNaN(sink)) throw new Error('a result was not a number');

function fill(): void {
  const resident = process.memoryUsage.rss();
  const start = Bun.nanoseconds();
  for (let client = 0; client < ENTRIES; client++) {
    nat.writeFromClient(client);
    nat.ingest();
  }
  const took = Bun.nanoseconds() - start;
  expectFlows(ENTRIES);
  print(
    '  of it touched by a rewritten flow',
    (process.memoryUsage.rss() - resident) / ENTRIES,
    'B',
  );
  print(`a new flow, of ${ENTRIES}`, took / ENTRIES, 'ns');
}

/** The table alone: hash and walk of a chain, for a tuple that is there and one that is not. */
function lookUp(): void {
  const { flows, arena } = nat.stack;
  const { view } = arena;
  let row = 0;
  const find = (portShift: number): number => {
    row = (row + STRIDE) % ENTRIES;
    const at = flows.rowAt(row);
    const [source, destination] = [at + FlowField.SOURCE, at + FlowField.DESTINATION];
    const protocol = view.getUint8(at + FlowField.PROTOCOL);
    const sourcePort = view.getUint16(at + FlowField.SOURCE_PORT, true) + portShift;
    const port = view.getUint16(at + FlowField.DESTINATION_PORT, true);
    const hash = flows.hashOf(source, destination, 4, (sourcePort << 16) | port, protocol);
    return flows.find(hash, source, destination, 4, sourcePort, port, protocol);
  };
  if (find(0) === NO_FLOW || find(1) !== NO_FLOW) throw new Error('the table is not as it should');
  const perCall = (portShift: number): number =>
    nanosecondsPerCall(() => {
      for (let i = 0; i < BATCH; i++) sink += find(portShift);
    }) / BATCH;
  print(`lookup among ${ENTRIES}, hit`, perCall(0), 'ns');
  print(`lookup among ${ENTRIES}, miss`, perCall(1), 'ns');
}

/** A packet through the whole stack, without the write to the device. */
function carry(): void {
  let client = 0;
  const perCall = (write: (number: number) => void): number =>
    nanosecondsPerCall(() => {
      for (let i = 0; i < BATCH; i++) {
        client = (client + STRIDE) % ENTRIES;
        write(client);
        nat.ingest();
      }
    }) / BATCH;
  const before = nat.sent;
  print(
    'a datagram of a client, rewritten',
    perCall((number) => nat.writeFromClient(number)),
    'ns',
  );
  print(
    'an answer, rewritten',
    perCall((number) => nat.writeFromServer(number)),
    'ns',
  );
  if (nat.sent - before < BATCH) throw new Error('nothing was rewritten');
}

/** All flows but some expire; each tick these send, and wait for the step of the reaper before. */
function reap(): void {
  const steps: number[] = [];
  const waits: number[] = [];
  const quiet: number[] = [];
  let client = 0;
  const end = nat.now + REAPED_FOR;
  while (nat.now < end) {
    nat.wait(TICK);
    const start = Bun.nanoseconds();
    const isDue = nat.expire();
    const step = Bun.nanoseconds() - start;
    if (isDue) steps.push(step);
    for (let i = 0; i < PACKETS_PER_TICK; i++) {
      client = (client + 1) % LIVE;
      nat.writeFromClient(client);
      const began = Bun.nanoseconds();
      nat.ingest();
      const took = Bun.nanoseconds() - began;
      // The first came when the step began.
      if (isDue) waits.push(took + (i === 0 ? step : 0));
      else quiet.push(took);
    }
  }
  expectFlows(LIVE);
  const expired = ENTRIES - LIVE;
  const total = steps.reduce((sum, step) => sum + step, 0);
  print(`reaping ${expired} flows, of each`, total / expired, 'ns');
  printSpread('a step of the reaper', steps);
  printSpread('a live packet, no step before it', quiet);
  printSpread('a live packet, or the wait for a step and the packet', waits);
}

function churn(): void {
  const perTick = (CHURN_PER_SECOND * TICK) / seconds(1);
  let client = 0;
  let mostFlows = 0;
  const step = (time: Duration): void => {
    nat.wait(time);
    nat.expire();
    mostFlows = Math.max(mostFlows, nat.flows);
  };
  const pass = (flows: number): void => {
    for (const last = client + flows; client < last; ) {
      for (let i = 0; i < perTick; i++) {
        nat.writeFromClient(1_000_000 + client++);
        nat.ingest();
      }
      step(TICK);
    }
    const settled = nat.now + CHURN_SETTLES;
    while (nat.now < settled) step(TICK);
    expectFlows(0);
  };
  pass(CHURN / 10);
  const [heap, resident] = [heapBytes(), process.memoryUsage.rss()];
  const start = Bun.nanoseconds();
  pass(CHURN);
  print(`${CHURN} flows come and go, each`, (Bun.nanoseconds() - start) / CHURN, 'ns');
  print('  at most at once', mostFlows, 'flows');
  print('  left: flows', nat.flows, '');
  print('  left: mappings', nat.counters.get(Counter.NAT_MAPPINGS_NOW), '');
  print('  growth of the heap', (heapBytes() - heap) / 1024, 'KiB');
  print('  growth of resident memory', (process.memoryUsage.rss() - resident) / 1024, 'KiB');
}

function heapBytes(): number {
  Bun.gc(true);
  return heapStats().heapSize;
}

function printSpread(what: string, values: readonly number[]): void {
  const sorted = Float64Array.from(values).sort();
  const at = (share: number): number =>
    sorted[Math.floor((sorted.length - 1) * share)] ?? Number.NaN;
  for (const [name, share] of [
    ['p50', 0.5],
    ['p99', 0.99],
    ['most', 1],
  ] as const) {
    print(`${what}, ${name}`, at(share), 'ns');
  }
}

function expectFlows(count: number): void {
  if (nat.flows === count && nat.refused === 0) return;
  throw new Error(`${nat.flows} flows where ${count} should be, ${nat.refused} were refused`);
}
