import { expect, test } from 'bun:test';
import { parseConntrackLine } from './kernel-conntrack.ts';

// Printed by conntrack 1.4.7 (Debian 12) on kernel 6.18.
const ENDS = 'src=10.88.1.2 dst=198.18.0.10 sport=40001 dport=80';
const BACK = 'src=198.18.0.10 dst=10.97.0.1 sport=80 dport=40001';
const TCP = `tcp      6 108 TIME_WAIT ${ENDS} ${BACK} [ASSURED] mark=0 use=1`;
const UDP = `udp      17 22 ${ENDS} [UNREPLIED] ${BACK} mark=0 use=1`;
const ICMP6 =
  'icmpv6   58 23 src=fd88:1::2 dst=2001:db8::10 type=128 code=0 id=26106 ' +
  'src=2001:db8::10 dst=fd97::1 type=129 code=0 id=26106 mark=0 use=1';

const original = { src: '10.88.1.2', dst: '198.18.0.10', sport: 40001, dport: 80 };
const reply = { src: '198.18.0.10', dst: '10.97.0.1', sport: 80, dport: 40001 };

test('TCP has a state of its own, and both tuples', () => {
  expect(parseConntrackLine(TCP)).toEqual([
    { proto: 'tcp', state: 'TIME_WAIT', replied: true, assured: true, original, reply },
  ]);
});

test('UDP has the state that its flags say', () => {
  const udp = { proto: 'udp', original, reply };
  expect(parseConntrackLine(UDP)).toMatchObject([{ ...udp, state: 'UNREPLIED', replied: false }]);
  const replied = UDP.replace(' [UNREPLIED]', '');
  expect(parseConntrackLine(replied)).toMatchObject([{ ...udp, state: 'REPLIED' }]);
  const stream = `${replied} [ASSURED]`;
  expect(parseConntrackLine(stream)).toMatchObject([{ ...udp, state: 'STREAM' }]);
});

test('ICMPv6 is icmp, and has no ports', () => {
  expect(parseConntrackLine(ICMP6)).toMatchObject([
    {
      proto: 'icmp',
      state: 'REPLIED',
      original: { src: 'fd88:1::2', dst: '2001:db8::10' },
      reply: { src: '2001:db8::10', dst: 'fd97::1' },
    },
  ]);
});

test('what is no flow is passed by', () => {
  expect(parseConntrackLine('')).toEqual([]);
  expect(parseConntrackLine('unknown  2 500 src=1.1.1.1 dst=2.2.2.2')).toEqual([]);
});
