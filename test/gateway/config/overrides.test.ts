import { expect, test } from 'bun:test';
import { parseConfig } from '../../../src/gateway/config/load.ts';
import { collectOverrides } from '../../../src/gateway/config/overrides.ts';

const TEXT = 'device: {name: file0, mtu: 1400}\nlog: {level: warn}\n';

test('a flag wins over the environment, which wins over the file', () => {
  const flags = { device: 'flag0' };
  const env = { CULVERT_DEVICE: 'env0', CULVERT_LOG_LEVEL: 'debug' };
  const config = parseConfig(TEXT, 'c', collectOverrides(flags, env));
  expect(config.device.name).toBe('flag0');
  expect(config.log.level).toBe('debug');
  expect(config.device.mtu).toBe(1400);
});

test('an empty variable is none', () => {
  const config = parseConfig(TEXT, 'c', collectOverrides({}, { CULVERT_DEVICE: '' }));
  expect(config.device.name).toBe('file0');
});

test('the device is written as tun2socks does, too', () => {
  const config = parseConfig('', 'c', collectOverrides({ device: 'tun://tun7' }, {}));
  expect(config.device.name).toBe('tun7');
});

test('numbers are read, and what is none is an error of its place', () => {
  expect(parseConfig('', 'c', collectOverrides({ mtu: '9000' }, {})).device.mtu).toBe(9000);
  expect(parseConfig('', 'c', collectOverrides({ fwmark: '0x22b' }, {})).egress.fwmark).toBe(555);
  expect(() => parseConfig('', 'c', collectOverrides({ mtu: 'big' }, {}))).toThrow('device.mtu');
});

test('a file that is no object stays an error', () =>
  expect(() => parseConfig('[1]', 'c', collectOverrides({ mtu: '9000' }, {}))).toThrow(
    'expected object',
  ));

test('format and time of log lines are chosen by flags and variables', () => {
  const env = { CULVERT_LOG_TIME: 'epoch' };
  const config = parseConfig('', 'c', collectOverrides({ logFormat: 'logfmt' }, env));
  expect(config.log).toMatchObject({ format: 'logfmt', time: 'epoch' });
});

test('the short names of containers come behind CULVERT_ and before the file', () => {
  const env = { TUN: 'tun9', MTU: '1300', LOGLEVEL: 'debug', TABLE: '77' };
  const config = parseConfig(TEXT, 'c', collectOverrides({}, { ...env, CULVERT_MTU: '1350' }));
  expect(config.device).toMatchObject({ name: 'tun9', mtu: 1350 });
  expect(config.log.level).toBe('debug');
  expect(config.routes.table).toBe(77);
});

test('switches of the environment are words', () => {
  const auto = (text: string) =>
    parseConfig('', 'c', collectOverrides({}, { CULVERT_AUTO_ROUTE: text })).routes.auto;
  expect([auto('true'), auto('1'), auto('no')]).toEqual([true, true, false]);
  expect(() => auto('perhaps')).toThrow('CULVERT_AUTO_ROUTE: routes.auto');
});

test('an error inside of a list names the variable that holds it', () =>
  expect(() =>
    parseConfig('', 'c', collectOverrides({}, { TUN_INCLUDED_ROUTES: '10.0.0.0/8,x' })),
  ).toThrow('TUN_INCLUDED_ROUTES: routes.include[1]'));
