import { expect, test } from 'bun:test';
import { conntrackLine } from '../../../src/gateway/cli/conntrack-line.ts';

const entry = {
  id: 'a',
  family: 4 as const,
  proto: 'tcp',
  carrier: 'nat',
  state: 'ESTABLISHED',
  expires_ms: 431_999_900,
  replied: true,
  assured: true,
  original: { src: '10.0.0.2', dst: '10.1.0.1', sport: 1000, dport: 80, packets: 3, bytes: 180 },
  reply: { src: '10.9.0.1', dst: '192.0.2.1', sport: 8080, dport: 999, packets: 2, bytes: 120 },
};

test('an entry stands on a line as conntrack prints it', () =>
  expect(conntrackLine(entry)).toBe(
    'tcp      6 431999 ESTABLISHED src=10.0.0.2 dst=10.1.0.1 sport=1000 dport=80 ' +
      'packets=3 bytes=180 src=10.9.0.1 dst=192.0.2.1 sport=8080 dport=999 ' +
      'packets=2 bytes=120 [ASSURED] carrier=nat flow=a',
  ));

test('a ping has types, code and identifiers instead of ports', () => {
  const counts = { packets: 1, bytes: 64 };
  const ping = {
    ...entry,
    family: 6 as const,
    proto: 'icmp',
    assured: false,
    replied: false,
    original: { src: 'fd00::1', dst: 'fd00::2', icmp_id: 7, ...counts },
    reply: { src: 'fd00::2', dst: 'fd00::3', icmp_id: 9, packets: 0, bytes: 0 },
  };
  expect(conntrackLine(ping)).toBe(
    'icmpv6   58 431999 src=fd00::1 dst=fd00::2 type=128 code=0 id=7 packets=1 bytes=64 ' +
      '[UNREPLIED] src=fd00::2 dst=fd00::3 type=129 code=0 id=9 packets=0 bytes=0 ' +
      'carrier=nat flow=a',
  );
  const line = conntrackLine({ ...ping, family: 4 });
  expect(line).toStartWith('icmp     1 431999 src=fd00::1 dst=fd00::2 type=8 code=0');
  expect(line).toContain('type=0 code=0 id=9');
});

test('a protocol without a name has its number, and no ports', () => {
  const counts = { packets: 1, bytes: 1 };
  const { expires_ms: _, ...lasting } = entry;
  expect(
    conntrackLine({
      ...lasting,
      proto: '47',
      original: { src: '10.0.0.1', dst: '10.0.0.2', ...counts },
      reply: { src: '10.0.0.2', dst: '10.0.0.1', ...counts },
    }),
  ).toStartWith('unknown  47 - src=10.0.0.1 dst=10.0.0.2 packets=1 bytes=1 src=10.0.0.2');
});
