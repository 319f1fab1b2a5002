import { describe, expect, test } from 'bun:test';
import { FilterError } from '../../../src/gateway/flow-filter/filter-error.ts';
import { parseFilter } from '../../../src/gateway/flow-filter/parse.ts';
import {
  Carrier,
  Decider,
  FLOW_ROW_BYTES,
  FlowPhase,
  TrackBit,
  TrackState,
  VerdictCode,
} from '../../../src/stack/flow-row.ts';
import { TcpState } from '../../../src/stack/tcp/states.ts';
import { FlowMemory, flowContext, NOW_US } from '../supervisor/flows/flow-memory.ts';

/**
 * web    10.0.0.0:1000 → 10.1.0.1:80, TCP, ESTABLISHED, forwarded by the script `route`
 * six    [fd00::7]:5000 → [fd00::9]:443, TCP, TIME-WAIT, rejected by a listener
 * query  10.0.0.2:6000 → 8.8.8.8:53, UDP, NAT to 192.0.2.1:40000, replied, expires in 10 s
 * ping   10.0.0.3, identifier 7, ICMP, session, undecided, began 100 ms ago
 */
const FLOWS = ['web', 'six', 'query', 'ping'];
const memory = new FlowMemory(FLOWS.length);
memory.put(0, {
  bytesUp: 1000,
  bytesDown: 2 ** 21,
  packetsDown: 9,
  upstream: '10.2.0.1',
  upstreamPort: 8080,
  srttUs: 1500,
  via: 7,
});
memory.put(1, {
  source: 'fd00::7',
  sourcePort: 5000,
  destination: 'fd00::9',
  destinationPort: 443,
  phase: FlowPhase.TIME_WAIT,
  tcpState: TcpState.TIME_WAIT,
  decider: Decider.LISTENER,
  verdict: VerdictCode.REJECT,
  lastUsedAt: NOW_US - 5_000_000,
});
memory.put(2, {
  sourcePort: 6000,
  destination: '8.8.8.8',
  destinationPort: 53,
  protocol: 17,
  carrier: Carrier.NAT,
  trackState: TrackState.REPLIED,
  trackBits: TrackBit.SEEN_REPLY | TrackBit.ASSURED,
  tcpState: TcpState.CLOSED,
  verdict: VerdictCode.NAT,
  natSource: '192.0.2.1',
  natPort: 40_000,
  expiresAt: NOW_US + 10_000_000,
});
memory.put(3, {
  sourcePort: 7,
  destinationPort: 0,
  protocol: 1,
  carrier: Carrier.SESSION,
  phase: FlowPhase.DECIDING,
  trackState: TrackState.UNREPLIED,
  tcpState: TcpState.CLOSED,
  decider: Decider.NONE,
  verdict: VerdictCode.NONE,
  startedAt: NOW_US - 100_000,
  bytesUp: 64,
});

function matching(filter: string): string {
  const passes = parseFilter(filter)(flowContext());
  return FLOWS.filter((_, row) => passes(memory.view, row * FLOW_ROW_BYTES)).join(' ');
}

describe('a field', () => {
  test.each([
    ['id = 2s', 'web'],
    ['proto = tcp', 'web six'],
    ['proto = ICMP', 'ping'],
    ['proto in (udp, 1)', 'query ping'],
    ['family = 6', 'six'],
    ['src = 10.0.0.2', 'query'],
    ['src=10.0.0.0/8', 'web query ping'],
    ['src in fd00::/8', 'six'],
    ['src in (10.0.0.2, fd00::/64)', 'six query'],
    ['src not in 10.0.0.0/8', 'six'],
    ['dst != 8.8.8.8', 'web six ping'],
    ['dst in ::/0', 'six'],
    ['dst = ::ffff:8.8.8.8', 'query'],
    ['sport = 6000', 'query'],
    ['dport in 50-443', 'web six query'],
    ['dport in (80, 443)', 'web six'],
    ['port = 80', 'web'],
    ['src_port < 1000', 'ping'],
    ['dst_port >= 80', 'web six'],
    ['upstream = 10.2.0.0/16', 'web'],
    ['upstream in 0.0.0.0/0', 'web'],
    ['upstream_port = 8080', 'web'],
    ['nat = 192.0.2.1', 'query'],
    ['nat in 0.0.0.0/0', 'query'],
    ['nat_port > 0', 'query'],
    ['state = established', 'web'],
    ['state = TIME_WAIT', 'six'],
    ['state in (replied, unreplied)', 'query ping'],
    ['state = closed', ''],
    ['phase = time-wait', 'six'],
    ['phase = deciding', 'ping'],
    ['carrier = nat', 'query'],
    ['carrier != tcp', 'query ping'],
    ['assured = true', 'query'],
    ['replied = true', 'web query'],
    ['verdict = FORWARD', 'web'],
    ['decider = listener', 'six'],
    ['script = Route', 'web query'],
    ['script != route', 'six ping'],
    ['rule = web', 'six'],
    ['rule = "a b"', ''],
    ['via = pool-B', 'web'],
    ['via = direct', ''],
    ['via != pool-b', 'six query ping'],
    ['generation = 3', 'web six query ping'],
    ['service = welcome', ''],
    ['bytes > 1MiB', 'web'],
    ['bytes_up = 1000', 'web'],
    ['bytes_up in 10B-1KiB', 'web ping'],
    ['bytes_down < 1', 'six query ping'],
    ['pkts = 10', 'web'],
    ['pkts_up = 1', 'web six query ping'],
    ['pkts_down > 0', 'web'],
    ['retrans > 0', ''],
    ['rtt = 1.5ms', 'web'],
    ['age < 1s', 'ping'],
    ['age > 10s', 'web six query'],
    ['idle <= 5s', 'six'],
    ['expires < 1m', 'query'],
    ['expires > 1h', 'web six ping'],
  ])('%s', (filter, flows) => expect(matching(filter)).toBe(flows));
});

describe('terms', () => {
  test.each([
    ['', 'web six query ping'],
    ['  ', 'web six query ping'],
    ['proto=tcp and dport=80', 'web'],
    ['proto=tcp dport=80', 'web'],
    ['proto=tcp,dport=80', 'web'],
    ['proto=udp or dport=80', 'web query'],
    ['proto=udp or proto=tcp and dport=80', 'web query'],
    ['(proto=udp or proto=tcp) and dport=80', 'web'],
    ['not proto=tcp', 'query ping'],
    ['not proto=tcp and dport=53', 'query'],
    ['not (proto=tcp or dport=53)', 'ping'],
    ['not not proto=udp', 'query'],
    ['NOT proto=tcp AND dport IN (53)', 'query'],
    ['proto=udp (dport=53)', 'query'],
    ['proto = "udp"', 'query'],
  ])('%s', (filter, flows) => expect(matching(filter)).toBe(flows));
});

describe('an error', () => {
  test.each([
    ['colour=red', 1, '"colour" is no field: id, proto,'],
    ['toString=x', 1, '"toString" is no field'],
    ['proto=tcp and and', 15, '"and" instead of a field'],
    ['proto=tcp or', 13, 'the end instead of a field'],
    ['port', 5, 'the end instead of = != < <= > >= or "in"'],
    ['port 80', 6, '"80" instead of ='],
    ['port =', 7, 'the end instead of a value'],
    ['port not 80', 10, '"80" instead of "in"'],
    ['port=http', 6, '"http" is no port'],
    ['port=65536', 6, '"65536" is no port'],
    ['port in 1-2-3', 9, '"1-2-3" is no range'],
    ['port in (1, 2', 14, 'the end instead of "," or ")"'],
    ['proto=tcp and src=10.0.0.0/99', 19, '"10.0.0.0/99" is no address or network'],
    ['src<10.0.0.1', 4, '"<" needs a number: use =, != or in'],
    ['state >= established', 7, '">=" needs a number'],
    ['state=open', 7, '"open" is no state: closed, listen,'],
    ['verdict=allow', 9, '"allow" is no verdict: none, decline,'],
    ['proto=quic', 7, '"quic" is no protocol: '],
    ['proto=256', 7, '"256" is no protocol'],
    ['bytes>1MB', 7, '"1MB" is no size such as 500, 64KiB'],
    ['age>10', 5, '"10" is no duration such as 250ms'],
    ['id=A', 4, '"A" is no id of a flow'],
    ['(proto=tcp', 11, 'the end instead of ")"'],
    ['proto=tcp)', 10, '")" instead of "and", "or" or the end'],
    ['rule="a', 6, 'a quote is not closed'],
    ['!proto=tcp', 1, '"!" without "="'],
    ['"proto"=tcp', 1, '"proto" instead of a field'],
  ])('in %p has its column', (filter, column, message) => {
    const error = errorOf(filter);
    expect(error.message).toStartWith(`filter, column ${column}: ${message}`);
    expect(error.column).toBe(column);
  });

  test('is the answer to what is too deep or too long', () => {
    expect(errorOf(`${'('.repeat(1000)}proto=tcp`).message).toContain('101: too many brackets');
    expect(errorOf('not '.repeat(1000)).message).toContain('too many brackets');
    expect(errorOf('x'.repeat(5000)).message).toContain('at most 4096 characters');
    expect(matching(`${'('.repeat(50)}proto=udp${')'.repeat(50)}`)).toBe('query');
    expect(matching(Array(300).fill('proto=udp').join(' or '))).toBe('query');
  });
});

function errorOf(filter: string): FilterError {
  try {
    parseFilter(filter);
  } catch (error) {
    if (error instanceof FilterError) return error;
  }
  throw new Error(`"${filter}" is no error`);
}
