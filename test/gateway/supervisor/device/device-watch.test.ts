/** A watch whose kernel does what the test says. */
import { afterEach, beforeEach, expect, test } from 'bun:test';
import { Errno } from '../../../../src/ffi/errno.ts';
import { SystemError } from '../../../../src/ffi/errors.ts';
import type { LinkHandlers } from '../../../../src/ffi/link-listener.ts';
import type { TunDevice } from '../../../../src/ffi/tun-device.ts';
import type { DeviceState } from '../../../../src/gateway/supervisor/device/device-state.ts';
import { DeviceWatch } from '../../../../src/gateway/supervisor/device/device-watch.ts';
import { until } from '../support.ts';

const STATE: DeviceState = {
  ...{ name: 'x0', isUp: true, mtu: 1500, txQueueLength: 9, isHere: true, index: 3 },
};
const NO_ROOM = new SystemError(Errno.EMFILE, 'socket(NETLINK_ROUTE)');

let watch: DeviceWatch;
let seen: string[];
/** What the kernel says; an error is thrown. */
let answer: DeviceState | Error | undefined;
let refusal: Error | undefined;
let listening: LinkHandlers[];
let looks: number;

beforeEach(() => {
  [seen, answer, refusal, listening, looks] = [[], STATE, undefined, [], 0];
});
afterEach(() => watch[Symbol.dispose]());

function start(): void {
  // It is handed through, and nothing of it is used here.
  const tun = {} as TunDevice;
  watch = new DeviceWatch(
    tun,
    STATE,
    {
      onChange: ({ mtu }) => seen.push(`mtu ${mtu}`),
      onGone: () => seen.push('gone'),
      onTrouble: ({ code }, isFirst) => seen.push(isFirst ? `first ${code}` : code),
      onTroubleOver: () => seen.push('over'),
    },
    {
      look: () => {
        looks += 1;
        if (answer instanceof Error) throw answer;
        return answer;
      },
      listen: (handlers) => {
        if (refusal !== undefined) throw refusal;
        listening.push(handlers);
        return { [Symbol.dispose]: () => undefined };
      },
      periodMs: 5,
    },
  );
}

test('a look that the kernel refuses is no deletion: it is told, and tried again', async () => {
  start();
  answer = NO_ROOM;
  await until(() => seen.length >= 3, 'three looks in vain');
  expect(seen.slice(0, 3)).toEqual(['first EMFILE', 'EMFILE', 'EMFILE']);
  answer = { ...STATE, mtu: 1400 };
  await until(() => seen.includes('mtu 1400'), 'the change');
  expect(seen.slice(-2)).toEqual(['over', 'mtu 1400']);
});

test('errors of Node count as those of the kernel do, and mistakes of ours do not', () => {
  start();
  answer = Object.assign(new Error('stat'), { code: 'ENOMEM' });
  watch.look();
  expect(seen).toEqual(['first ENOMEM']);
  answer = new TypeError('ours');
  expect(() => watch.look()).toThrow('ours');
});

test('who cannot listen looks, and listens as soon as that can be', async () => {
  refusal = NO_ROOM;
  start();
  await until(() => looks >= 2, 'two looks');
  expect(seen[0]).toBe('first EMFILE');
  expect(seen).not.toContain('over');
  refusal = undefined;
  await until(() => listening.length === 1, 'a listener');
  expect(seen.at(-1)).toBe('over');
});

test('both in trouble are one trouble, which is over with the last', async () => {
  start();
  answer = NO_ROOM;
  watch.look();
  refusal = NO_ROOM;
  listening[0]?.onLost(undefined);
  await until(() => seen.length > 4, 'more of it');
  answer = STATE;
  watch.look();
  expect(seen).not.toContain('over');
  refusal = undefined;
  await until(() => seen.includes('over'), 'the end of it');
  expect(seen.filter((what) => what.startsWith('first'))).toHaveLength(1);
});

test('an interface that is gone is told of once, and nothing after that', async () => {
  start();
  answer = undefined;
  watch.look();
  const before = looks;
  await Bun.sleep(20);
  expect(seen).toEqual(['gone']);
  expect(looks).toBe(before);
});
