/** What tests of children share: commands, a log that is remembered, waiting. */
import { LogSink } from '../../../src/gateway/supervisor/log/log-sink.ts';
import { createLogger } from '../../../src/gateway/supervisor/log/logger.ts';

const CHILD = `${import.meta.dir}/fake-child.ts`;

export const fakeCommand = (mode = 'plain'): string[] => [process.execPath, CHILD, mode];

export type LogLine = Record<string, unknown> & { readonly msg?: string };

export function rememberingLog() {
  const lines: LogLine[] = [];
  const sink = new LogSink();
  sink.write = (line) => void lines.push(JSON.parse(line) as LogLine);
  return { lines, log: createLogger({ level: 'debug', format: 'json' }, sink) };
}

/** What fake children say that they were told, of one kind. */
export const told = (lines: readonly LogLine[], kind: string): Record<string, unknown>[] =>
  lines
    .filter((line) => line.msg === 'seen')
    .map((line) => JSON.parse(String(line['seen'])) as Record<string, unknown>)
    .filter((message) => message['kind'] === kind);

/** Longer than a machine that has much else to do takes for what takes milliseconds. */
const PATIENCE_MS = 25_000;
/** Of a test that waits with `until`: so that this ends first, and says what for. */
export const PATIENT_TEST_MS = PATIENCE_MS + 5_000;

/** Waits for a child process to get somewhere. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`waited in vain for ${what}`);
    await Bun.sleep(5);
  }
}
