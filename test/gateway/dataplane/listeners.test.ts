import { describe, expect, test } from 'bun:test';
import { Listeners, NO_LISTENER } from '../../../src/gateway/dataplane/listeners.ts';
import type { ListenerRule } from '../../../src/gateway/messages/control.ts';
import { writeAddress } from '../../../src/stack/wire/ip-address.ts';
import { Protocol } from '../../../src/stack/wire/protocol.ts';

const rule = (name: string, changes: Partial<ListenerRule>): ListenerRule => ({
  name,
  protocol: 'tcp',
  destinations: [],
  ports: [],
  action: { kind: 'drop' },
  ...changes,
});

/** Name of the rule that matches, or undefined. */
function matched(
  rules: readonly ListenerRule[],
  ip: string,
  port: number,
  protocol: number = Protocol.TCP,
): string | undefined {
  const view = new DataView(new ArrayBuffer(16));
  const family = writeAddress(ip, view, 0);
  const listeners = new Listeners(rules);
  const index = listeners.match(protocol, view, 0, family === 4 ? 4 : 16, port);
  return index === NO_LISTENER ? undefined : listeners.rule(index).name;
}

describe('listeners', () => {
  test('without rules nothing matches', () => {
    expect(matched([], '10.0.0.1', 80)).toBeUndefined();
  });

  test('a rule without destination and port matches everything of its protocol', () => {
    expect(matched([rule('all', {})], '10.0.0.1', 80)).toBe('all');
    expect(matched([rule('udp', { protocol: 'udp' })], '10.0.0.1', 80)).toBeUndefined();
    expect(matched([rule('any', { protocol: 'any' })], 'fd00::1', 80)).toBe('any');
  });

  test('icmp is that of both families, and only any is what has no name', () => {
    const rules = [rule('ping', { protocol: 'icmp' }), rule('any', { protocol: 'any' })];
    expect(matched(rules, '10.0.0.1', 0, Protocol.ICMP)).toBe('ping');
    expect(matched(rules, 'fd00::1', 0, Protocol.ICMPV6)).toBe('ping');
    expect(matched(rules, '10.0.0.1', 0, 47)).toBe('any');
  });

  test('a prefix rule matches no flow, and its place among the others is known', () => {
    const action = { kind: 'prefix', inside: 'fd00::/48', outside: '2001:db8::/48' } as const;
    const rules = [rule('web', { ports: [[80, 80]] }), rule('site', { protocol: 'any', action })];
    expect(matched(rules, '2001:db8::1', 443)).toBeUndefined();
    expect(new Listeners(rules).prefixesAt).toEqual([1]);
  });

  test('the first match decides', () => {
    const rules = [rule('narrow', { ports: [[80, 80]] }), rule('wide', {})];
    expect(matched(rules, '10.0.0.1', 80)).toBe('narrow');
    expect(matched(rules, '10.0.0.1', 81)).toBe('wide');
  });

  test('ranges of ports include both ends', () => {
    const rules = [
      rule('range', {
        ports: [
          [443, 443],
          [8000, 8100],
        ],
      }),
    ];
    for (const port of [443, 8000, 8050, 8100])
      expect(matched(rules, '10.0.0.1', port)).toBe('range');
    for (const port of [442, 444, 7999, 8101]) {
      expect(matched(rules, '10.0.0.1', port)).toBeUndefined();
    }
  });

  test('a prefix matches addresses of its own family only', () => {
    const rules = [rule('nets', { destinations: ['10.1.0.0/16', 'fd00:1::/32'] })];
    expect(matched(rules, '10.1.255.1', 1)).toBe('nets');
    expect(matched(rules, '10.2.0.1', 1)).toBeUndefined();
    expect(matched(rules, 'fd00:1::9', 1)).toBe('nets');
    expect(matched(rules, 'fd00:2::9', 1)).toBeUndefined();
  });

  test('what is no prefix is refused by name', () => {
    expect(() => new Listeners([rule('bad', { destinations: ['10.0.0.0/33'] })])).toThrow(
      /bad.*\/33/,
    );
  });
});
