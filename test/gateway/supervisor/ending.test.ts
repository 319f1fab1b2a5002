import { expect, test } from 'bun:test';
import { openSync } from 'node:fs';
import { join } from 'node:path';
import { Ending } from '../../../src/gateway/supervisor/ending.ts';
import { watchExitFd } from '../../../src/gateway/supervisor/exit-fd.ts';
import { scratchFolder } from '../../support/scratch.ts';
import { rememberingLog, until } from './support.ts';

function ending(drain: () => Promise<number>) {
  const codes: number[] = [];
  const told: number[] = [];
  const { log } = rememberingLog();
  const it = new Ending({
    log,
    drain,
    drainMs: () => 700,
    onEnding: (ms) => told.push(ms),
    end: (code) => codes.push(code),
  });
  return { it, codes, told };
}

test.each([
  [0, 0],
  [2, 3],
])('a drain that cuts %d flows ends with %d', async (cut, code) => {
  const { it, codes, told } = ending(() => Promise.resolve(cut));
  it.request({ signal: 'SIGTERM' });
  await Bun.sleep(0);
  expect({ codes, told }).toEqual({ codes: [code], told: [700] });
});

test('who asks a second time does not wait for the drain', () => {
  const { it, codes } = ending(() => new Promise(() => {}));
  it.request({ signal: 'SIGTERM' });
  it.request({ signal: 'SIGINT' });
  expect(codes).toEqual([2]);
});

test('who asks again after the drain has what is left forced', async () => {
  const { it, codes } = ending(() => Promise.resolve(0));
  it.request({ signal: 'SIGTERM' });
  await Bun.sleep(0);
  it.request({ signal: 'SIGTERM' });
  expect(codes).toEqual([0, 2]);
});

test('an immediate end does not drain', () => {
  const { it, codes, told } = ending(() => Promise.reject(new Error('drained')));
  it.now();
  expect({ codes, told }).toEqual({ codes: [0], told: [0] });
});

test('a pipe whose writer is gone ends the gateway; what it wrote does not', async () => {
  const fifo = join(scratchFolder('exit'), 'fifo');
  Bun.spawnSync(['mkfifo', fifo]);
  const writer = Bun.spawn(['sh', '-c', 'exec > "$0"; echo ignored; read wait', fifo], {
    stdin: 'pipe',
  });
  let ended = 0;
  watchExitFd(openSync(fifo, 'r'), () => ended++);
  await Bun.sleep(50);
  expect(ended).toBe(0);
  writer.stdin.end();
  await writer.exited;
  await until(() => ended > 0, 'the end of the pipe');
  expect(ended).toBe(1);
});
