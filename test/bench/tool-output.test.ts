import { describe, expect, test } from 'bun:test';
import { BenchError } from './command.ts';
import { parseIperf, parseWrk } from './tool-output.ts';

// Printed by wrk 4.1.0 (Debian 12); the last two lines from a run against a server that fails.
const WRK = `Running 1s test @ http://198.18.0.10:8080/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.03ms  412.00us   9.10ms   81.00%
    Req/Sec    61.40k     2.10k   64.00k    70.00%
  Latency Distribution
     50%  910.00us
     75%    1.20ms
     90%    1.52ms
     99%    2.59ms
  61034 requests in 1.00s, 9.60MB read
`;

describe('wrk', () => {
  test('Latencies are read in microseconds whatever their unit', () => {
    expect(parseWrk(`${WRK}Requests/sec:  60884.25\n`)).toEqual({
      requests: 61034,
      perSecond: 60884.25,
      p50Us: 910,
      p99Us: 2590,
      errors: 0,
    });
  });

  test('Socket errors and bad replies add up', () => {
    const socket = '  Socket errors: connect 1, read 2, write 0, timeout 4\n';
    const replies = '  Non-2xx or 3xx responses: 100\n';
    expect(parseWrk(`${WRK}${socket}${replies}Requests/sec: 1.00`).errors).toBe(107);
  });

  test('A run without a reply is an error', () => {
    expect(() => parseWrk('  0 requests in 1.00s, 0.00B read')).toThrow(BenchError);
    expect(() => parseWrk('unable to connect to 198.18.0.10:8080')).toThrow('unable to connect');
  });
});

describe('iperf3', () => {
  test('The sum of the receiver counts', () => {
    const end = {
      sum_sent: { bytes: 2000, bits_per_second: 16, retransmits: 3 },
      sum_received: { bytes: 1000, bits_per_second: 8 },
    };
    expect(parseIperf(JSON.stringify({ end }))).toEqual({
      bytes: 1000,
      bitsPerSecond: 8,
      retransmits: 3,
    });
  });

  test('An error, no bytes or torn output is an error', () => {
    const text = JSON.stringify({ end: {}, error: 'unable to connect to server' });
    expect(() => parseIperf(text)).toThrow('unable to connect to server');
    expect(() => parseIperf('{"end":{"sum_received":{"bytes":0}}}')).toThrow('moved nothing');
    expect(() => parseIperf('{"end":')).toThrow(BenchError);
  });
});
