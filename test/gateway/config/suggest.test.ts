import { expect, test } from 'bun:test';
import { parseConfig } from '../../../src/gateway/config/load.ts';

test.each([
  ['devise: {mtu: 1400}', 'unknown key, did you mean "device"?'],
  ['device: {adresses: []}', 'unknown key, did you mean "addresses"?'],
  ['listeners: [{name: a, action: drop, port: 1}]', 'unknown key, did you mean "ports"?'],
  ['scripts: {load: [{file: a.ts, alow: []}]}', 'load[0].alow: unknown key, did you mean "allow"?'],
  ['fwmark: 7', 'unknown key, did you mean "egress.fwmark"?'],
])('a config "%s" is told: %s', (text, message) =>
  expect(() => parseConfig(text, 'c')).toThrow(message),
);

test('a key that is like none is only unknown', () =>
  expect(() => parseConfig('zzzzzz: 1', 'c')).toThrow(/: zzzzzz: unknown key$/));
