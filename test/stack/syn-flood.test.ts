/**
 * 200,000 SYNs of spoofed sources, 20,000 per second, and one client that opens a connection every
 * 100 ms, sends, receives and closes.
 */
import { expect, test } from 'bun:test';
import { Counter } from '../../src/stack/counters.ts';
import { SynFlood } from '../support/syn-flood.ts';
import { TcpRig } from '../support/tcp-rig.ts';

const SPOOFED = 200_000;
const PER_CONNECTION = 2000;
const CONNECTIONS = SPOOFED / PER_CONNECTION;
const INTERVAL_US = 50;
/** Of JavaScript, over the whole flood; a row per SYN would be twenty times as much. */
const HEAP_BOUND_BYTES = 4 * 1024 * 1024;

interface Outcome {
  /** Of the owner: where scripts would be asked, and upstreams dialled. */
  readonly calls: number;
  readonly rowsMost: number;
  readonly heapGrowth: number;
}

/** @param rig  its owner accepts everything at once */
function flood(rig: TcpRig): Outcome {
  const attack = new SynFlood(rig.peer.options.serverAddress, 443);
  let rowsMost = 0;
  Bun.gc(true);
  const heapBefore = process.memoryUsage().heapUsed;
  for (let i = 0; i < CONNECTIONS; i++) {
    for (let j = 0; j < PER_CONNECTION; j++) {
      rig.deliverFrame(attack.next());
      rig.frames.length = 0;
      rig.clock.advance(INTERVAL_US);
    }
    rowsMost = Math.max(rowsMost, rig.stack.flows.used);
    rig.wait(0);
    rig.frames.length = 0;
    converse(rig, i);
  }
  Bun.gc(true);
  const heapGrowth = process.memoryUsage().heapUsed - heapBefore;
  return { calls: rig.owner.flows.length, rowsMost, heapGrowth };
}

/** A whole connection; whatever goes wrong throws. */
function converse(rig: TcpRig, index: number): void {
  const client = rig.newPeer({ port: 30_000 + index, timestamps: true });
  client.sends(`S 0:0(0) win 65535 <mss 1460,sackOK,TS val ${rig.clock.ms} ecr 0,wscale 7>`);
  client.expects('S. 0:0(0) ack 1');
  client.sends('. 1:1(0) ack 1 win 512');
  client.sends('P. 1:101(100) ack 1 win 512');
  const { flow } = rig;
  expect(flow.received).toBe(100);
  rig.owner.send(flow.row, 200, rig.now);
  client.expects('P. 1:201(200) ack 101');
  client.sends('F. 101:101(0) ack 201 win 512');
  client.expects('. 201:201(0) ack 102');
  rig.owner.close(flow.row, rig.now);
  client.expects('F. 201:201(0) ack 102');
  client.sends('. 102:102(0) ack 202 win 512');
  expect(flow.calls.at(-1)).toBe('closed eof by client');
}

function rigWith(synCookiesFrom: number): TcpRig {
  const limits = { flows: 4096, heldSyns: 1024, heldSynsPerSource: 682, synCookiesFrom };
  const rig = new TcpRig({ limits });
  rig.owner.reactions.syn = (row, now) => rig.stack.accept(row, now);
  return rig;
}

test('with cookies for every SYN, spoofed ones cost no row, no call, and no memory', () => {
  const rig = rigWith(0);
  const { calls, rowsMost, heapGrowth } = flood(rig);
  expect(calls).toBe(CONNECTIONS);
  expect(rowsMost).toBe(0);
  expect(heapGrowth).toBeLessThan(HEAP_BOUND_BYTES);
  expect(rig.counters.get(Counter.SYN_COOKIES_SENT)).toBe(SPOOFED + CONNECTIONS);
  expect(rig.counters.get(Counter.SYN_COOKIES_RECEIVED)).toBe(CONNECTIONS);
  expect(rig.counters.get(Counter.SYN_COOKIES_FAILED)).toBe(0);
  rig.expectEmpty();
}, 60_000);

test('with cookies under pressure, they cost what lies below the threshold, and no more', () => {
  const rig = rigWith(512);
  const { calls, rowsMost, heapGrowth } = flood(rig);
  expect(calls).toBe(512 + CONNECTIONS);
  expect(rowsMost).toBe(512);
  expect(heapGrowth).toBeLessThan(HEAP_BOUND_BYTES);
}, 60_000);
