import { afterAll, describe, expect, test } from 'bun:test';
import { closeSync, constants, mkdtempSync, openSync, readFileSync, readSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { closeFd, isNonBlocking, socketPair } from '../../../../src/ffi/sockets.ts';
import { LogSink } from '../../../../src/gateway/supervisor/log/log-sink.ts';
import { createLogger } from '../../../../src/gateway/supervisor/log/logger.ts';
import { until } from '../support.ts';

const folder = mkdtempSync(join(tmpdir(), 'culvert-'));
const SINK = `${import.meta.dir}/../../../../src/gateway/supervisor/log/log-sink.ts`;
const MAIN = `${import.meta.dir}/../stalled-gateway-child.ts`;
/** Long enough for a machine with other things to do, far too short for a reader that sleeps. */
const AT_ONCE_MS = 1_000;

const KIB = 1024;
const line = (length: number) => `${'x'.repeat(length - 1)}\n`;
const linesOf = (text: string) => text.split('\n').filter((found) => found.startsWith('x'));

/** A FIFO whose reader sleeps until it is asked; the writer's end blocks, as a shell makes it. */
function fifo(name: string) {
  const path = join(folder, name);
  expect(Bun.spawnSync(['mkfifo', path]).exitCode).toBe(0);
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const writer = openSync(path, constants.O_WRONLY);
  return { reader, writer };
}

/** All that is there now. */
function read(fd: number): string {
  const buffer = Buffer.alloc(64 * KIB);
  let text = '';
  for (;;) {
    try {
      const count = readSync(fd, buffer);
      if (count === 0) return text;
      text += buffer.toString('latin1', 0, count);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      return text;
    }
  }
}

function fill(sink: LogSink, lines: number): void {
  const before = performance.now();
  for (let n = 0; n < lines; n++) sink.write(line(KIB));
  sink.flush();
  expect(performance.now() - before).toBeLessThan(AT_ONCE_MS);
}

describe('a reader that sleeps', () => {
  test.each(['FIFO', 'socket'])(
    'of a %s stops nobody, and gets the rest when it wakes',
    async (kind) => {
      const [mine, theirs] = kind === 'socket' ? socketPair('stream') : [0, 0];
      const { reader, writer } =
        kind === 'socket' ? { reader: theirs, writer: mine } : fifo('sleeper');
      const wasNonBlocking = isNonBlocking(writer);
      const sink = new LogSink(writer);
      const log = createLogger({ level: 'info', format: 'json' }, sink);
      fill(sink, 5 * KIB);
      // Others share this description, and did not ask for another mode.
      expect(isNonBlocking(writer)).toBe(wasNonBlocking);
      let text = '';
      await until(() => {
        text += read(reader);
        return text.includes('log-lines-dropped');
      }, 'the rest');
      log.info('after');
      sink.flush();
      text += read(reader);
      const dropped = Number(/"dropped":(\d+)/.exec(text)?.[1]);
      expect(dropped).toBeGreaterThan(0);
      expect(linesOf(text)).toHaveLength(5 * KIB - dropped);
      // What is dropped is dropped whole.
      expect(linesOf(text).every((found) => found.length === KIB - 1)).toBe(true);
      expect(text).toContain('"msg":"after"');
      for (const fd of [reader, writer]) closeFd(fd);
    },
  );

  test('that goes away costs its lines, which are counted for the next one', async () => {
    const { reader, writer } = fifo('leaver');
    const sink = new LogSink(writer);
    const dropped: number[] = [];
    sink.onDropped = (lines) => dropped.push(lines);
    closeSync(reader);
    fill(sink, 3);
    const next = openSync(join(folder, 'leaver'), constants.O_RDONLY | constants.O_NONBLOCK);
    fill(sink, 1);
    expect(linesOf(read(next))).toHaveLength(1);
    expect(dropped).toEqual([3]);
    for (const fd of [next, writer]) closeSync(fd);
  });
});

test('a file gets all lines, in their order', () => {
  const path = join(folder, 'file');
  const fd = openSync(path, 'w');
  const sink = new LogSink(fd);
  for (let n = 0; n < 3 * KIB; n++) sink.write(`${n}\n`);
  sink.flush();
  const lines = readFileSync(path, 'utf8').trimEnd().split('\n');
  expect(lines).toEqual(Array.from({ length: 3 * KIB }, (_, n) => String(n)));
  closeSync(fd);
});

test('a process that exits leaves its last lines to a reader that is merely slow', async () => {
  const source = `
    import { LogSink } from ${JSON.stringify(SINK)};
    const sink = new LogSink(2);
    for (let n = 0; n < 1000; n++) sink.write('${'x'.repeat(KIB - 1)}\\n');
    process.exit(0);`;
  const child = Bun.spawn([process.execPath, '-e', source], { stderr: 'pipe' });
  expect(linesOf(await new Response(child.stderr).text())).toHaveLength(1000);
});

describe('a gateway whose standard error is a FIFO that nobody reads', () => {
  const { reader, writer } = fifo('gateway');
  const socket = join(folder, 'admin.sock');
  const child = Bun.spawn([process.execPath, MAIN, socket], {
    stdio: ['ignore', 'pipe', writer],
  });
  afterAll(() => {
    child.kill('SIGKILL');
    closeSync(reader);
    closeSync(writer);
  });

  test('kills a script host that hangs, answers its API, and ends on SIGTERM', async () => {
    const out = child.stdout.getReader();
    // Said when the pipe has long been full, after the watchdog did its work.
    const said = await out.read();
    expect(new TextDecoder().decode(said.value)).toBe('killed\n');
    const answer = await fetch('http://localhost/healthz', { unix: socket });
    expect(await answer.text()).toBe('ok\n');
    child.kill('SIGTERM');
    expect(await child.exited).toBe(0);
  }, 20_000);
});
