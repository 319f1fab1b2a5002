import { expect, test } from 'bun:test';
import { type LoadedConfig, parseConfig } from '../../../src/gateway/config/load.ts';
import { KernelChange } from '../../../src/gateway/supervisor/kernel-change.ts';
import { rememberingLog } from './support.ts';

const loadedOf = (text: string): LoadedConfig => ({ config: parseConfig(text, 'c'), folder: '/' });
const before = loadedOf('');
const wanted = loadedOf('drain: 7s');

/** A change of a device and of two parts; what happens is in `told`. */
function setUp(failing: readonly string[] = []) {
  const told: string[] = [];
  const { log, lines } = rememberingLog();
  const tell = (what: string) => {
    told.push(what);
    if (failing.includes(what)) throw new Error(`${what} fails`);
  };
  const follower = (name: string) => (now: LoadedConfig, then: LoadedConfig) => {
    expect([now, then]).toEqual([wanted, before]);
    tell(name);
    return async () => tell(`${name} back`);
  };
  const change = async () => {
    tell('device');
    return { finish: async () => tell('device done'), undo: async () => tell('device back') };
  };
  const followers = [follower('socket'), () => undefined, follower('routes')];
  const kernelChange = new KernelChange({ device: { change }, followers }, log, before, wanted);
  return { kernelChange, told, lines };
}

test('a change that is refused later is taken back, last part first, and only once', async () => {
  const { kernelChange, told } = setUp();
  await kernelChange.begin();
  await kernelChange.begin();
  await kernelChange.undo();
  await kernelChange.undo();
  expect(told).toEqual([
    ...['device', 'socket', 'routes'],
    ...['routes back', 'socket back', 'device back'],
  ]);
});

test.each([
  ['device', ['device']],
  ['socket', ['device', 'socket', 'device back']],
  ['routes', ['device', 'socket', 'routes', 'socket back', 'device back']],
])('of one that fails at %s only what was begun is taken back', async (part, expected) => {
  const { kernelChange, told, lines } = setUp([part]);
  expect(kernelChange.begin()).rejects.toThrow(`${part} fails`);
  await kernelChange.undo();
  expect(told).toEqual(expected);
  expect(lines).toEqual([]);
});

test('what cannot be taken back is told, and keeps nothing else from it', async () => {
  const { kernelChange, told, lines } = setUp(['routes back', 'device back']);
  await kernelChange.begin();
  await kernelChange.undo();
  expect(told.slice(3)).toEqual(['routes back', 'socket back', 'device back']);
  expect(lines).toMatchObject([{ msg: 'change-not-undone' }, { msg: 'change-not-undone' }]);
});

test('one that was not begun has nothing to take back', async () => {
  const { kernelChange, told } = setUp();
  await kernelChange.undo();
  expect(told).toEqual([]);
});
