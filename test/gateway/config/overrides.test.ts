import { describe, expect, test } from 'bun:test';
import { parseConfig } from '../../../src/gateway/config/load.ts';
import {
  CONFIG_FLAGS,
  collectOverrides,
  variableOf,
} from '../../../src/gateway/config/overrides.ts';

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

describe('every flag that stands for a key of the config', () => {
  /** How each is said by flag and variable, and what a file says for the same. */
  const SAID: Readonly<Record<string, readonly [text: string, file: string]>> = {
    device: ['tun7', 'device: {name: tun7}'],
    mtu: ['1300', 'device: {mtu: 1300}'],
    interface: ['eth7', 'egress: {interface: eth7}'],
    proxy: ['socks5://10.0.0.3:1080', 'egress: {via: "socks5://10.0.0.3:1080"}'],
    fwmark: ['0x22b', 'egress: {fwmark: 555}'],
    'auto-route': ['true', 'routes: {auto: true}'],
    table: ['77', 'routes: {table: 77}'],
    'included-routes': ['10.0.0.0/8, fd00::/8', 'routes: {include: [10.0.0.0/8, "fd00::/8"]}'],
    'excluded-routes': ['10.1.0.0/16', 'routes: {exclude: [10.1.0.0/16]}'],
    admin: ['127.0.0.1:9901', 'admin: {listen: "127.0.0.1:9901"}'],
    'log-level': ['debug', 'log: {level: debug}'],
    'log-format': ['logfmt', 'log: {format: logfmt}'],
    'log-time': ['epoch', 'log: {time: epoch}'],
    'state-dir': ['/srv/state', 'state: {folder: /srv/state}'],
  };
  const configOf = (flags: Record<string, string>, env: Record<string, string>) =>
    parseConfig(REST, 'c', collectOverrides(flags, env));
  /** What some of them cannot be without. */
  const REST = 'admin: {token: 0123456789abcdef0123}';
  const bare = parseConfig(REST, 'c');

  test.each([...CONFIG_FLAGS])('--%s is the same in a file and as a variable', (flag, short) => {
    const [text = '', file = ''] = SAID[flag] ?? [];
    const admin = flag === 'admin' ? file.replace('}', ', token: 0123456789abcdef0123}') : file;
    const wanted = parseConfig(flag === 'admin' ? admin : `${REST}\n${file}`, 'c');
    expect(wanted).not.toEqual(bare);
    const name = flag.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
    expect(configOf({ [name]: text }, {})).toEqual(wanted);
    for (const variable of [variableOf(flag), ...short]) {
      expect(configOf({}, { [variable]: text })).toEqual(wanted);
    }
  });
});
