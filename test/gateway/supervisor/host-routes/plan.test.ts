import { describe, expect, test } from 'bun:test';
import { parseConfig } from '../../../../src/gateway/config/load.ts';
import { ipCommand, planRoutes } from '../../../../src/gateway/supervisor/host-routes/plan.ts';

const commands = (routes: string, more = '', families?: (4 | 6)[]) => {
  const config = parseConfig(`device: {name: c0}\nroutes: ${routes}\n${more}`, 'c');
  return planRoutes(config, 'c0', families).steps.map((step) => ipCommand(step, 'c0'));
};

describe('a plan', () => {
  test('of networks is a table, and one rule for what the gateway did not send itself', () =>
    expect(commands('{include: [203.0.113.7/24], exclude: [203.0.113.64/26]}')).toEqual([
      'ip -4 route add throw 203.0.113.64/26 table 7100 proto static',
      'ip -4 route add 203.0.113.0/24 dev c0 table 7100 proto static',
      'ip -4 rule add not fwmark 0x1bbc lookup 7100 priority 7102 protocol static',
    ]));

  test('of everything leaves what the host knows better, and makes the last rule last', () =>
    expect(commands('{auto: true, table: 20, priority: 100}', 'egress: {fwmark: 0x22}')).toEqual([
      'ip -4 route add default dev c0 table 20 proto static',
      'ip -6 route add default dev c0 table 20 proto static',
      ...[4, 6].flatMap((family) => [
        `ip -${family} rule add not fwmark 0x22 lookup main suppress_prefixlength 0 ` +
          'priority 101 protocol static',
        `ip -${family} rule add not fwmark 0x22 lookup 20 suppress_prefixlength 0 ` +
          'priority 100 protocol static',
        `ip -${family} rule add not fwmark 0x22 lookup 20 priority 102 protocol static`,
      ]),
    ]));

  test('with dials that are bound to an interface needs no mark', () =>
    expect(commands('{include: [fd00::/8]}', 'egress: {interface: eth0}')).toEqual([
      'ip -6 route add fd00::/8 dev c0 table 7100 proto static',
      'ip -6 rule add lookup 7100 priority 7102 protocol static',
    ]));

  test('of some interfaces has a rule for each of them', () =>
    expect(commands('{include: [10.0.0.0/8], interfaces: [eth1, eth2]}').slice(1)).toEqual([
      'ip -4 rule add iif eth1 lookup 7100 priority 7102 protocol static',
      'ip -4 rule add iif eth2 lookup 7100 priority 7102 protocol static',
    ]));

  test('has a network once, and excluding it wins', () =>
    expect(commands('{include: [10.0.0.0/8, 10.1.0.0/8], exclude: [10.0.0.0/8]}')).toEqual([
      'ip -4 route add throw 10.0.0.0/8 table 7100 proto static',
      'ip -4 rule add not fwmark 0x1bbc lookup 7100 priority 7102 protocol static',
    ]));

  test('is for the families that the host has', () =>
    expect(commands('{auto: true}', '', [4]).filter((line) => line.includes('-6'))).toEqual([]));

  test('of nothing is empty, and leaves the dials unmarked', () => {
    expect(commands('{}')).toEqual([]);
    expect(parseConfig('', 'c').egress.fwmark).toBe(0);
  });

  test('can be taken back by the same words', () => {
    const config = parseConfig('routes: {include: [10.0.0.0/8]}', 'c');
    expect(planRoutes(config, 'c0').steps.map((step) => ipCommand(step, 'c0', 'del'))).toEqual([
      'ip -4 route del 10.0.0.0/8 dev c0 table 7100 proto static',
      'ip -4 rule del not fwmark 0x1bbc lookup 7100 priority 7102 protocol static',
    ]);
  });
});

test.each(['{table: 254}', '{table: 0}', '{priority: 32766}', '{interfaces: ["a b"]}'])(
  'routes %s are refused',
  (text) => expect(() => parseConfig(`routes: ${text}`, 'c')).toThrow('routes.'),
);
