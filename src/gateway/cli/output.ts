/** What commands print: results to standard output, everything else to standard error. */
import { writeSync } from 'node:fs';

const STDOUT = 1;
const STDERR = 2;

export const print = (text: string): void => write(STDOUT, `${text}\n`);
export const printError = (text: string): void => write(STDERR, `culvert: ${text}\n`);
/** Where it was not asked for: it is no result. */
export const printHelp = (text: string): void => write(STDERR, `${text}\n`);
export const printJson = (value: unknown): void => print(JSON.stringify(value, undefined, 2));

/**
 * Columns under their heads, as wide as their widest cell; numbers stand to the right.
 *
 * @returns lines without a newline at the end
 */
export function formatTable(
  heads: readonly string[],
  rows: readonly (readonly (string | number | undefined)[])[],
): string {
  const cells = [heads, ...rows].map((row) => row.map((cell) => String(cell ?? '-')));
  const widths = heads.map((_, column) =>
    Math.max(...cells.map((row) => Bun.stringWidth(row[column] ?? ''))),
  );
  const isNumeric = heads.map((_, column) => rows.every((row) => typeof row[column] === 'number'));
  return cells
    .map((row) =>
      row
        .map((cell, column) => {
          const pad = ' '.repeat((widths[column] ?? 0) - Bun.stringWidth(cell));
          return isNumeric[column] && rows.length > 0 ? pad + cell : cell + pad;
        })
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** `1.5 MiB` */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return unit === 0 ? `${value} B` : `${value.toFixed(1)} ${units[unit]}`;
}

/** `450ms`, `12.3s`, `5m10s`, `3h05m` */
export function formatSpan(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  const pad = (count: number) => String(count).padStart(2, '0');
  if (ms < 1000) return `${Math.round(ms)}ms`;
  if (seconds < 60) return `${(ms / 1000).toFixed(1)}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m${pad(seconds % 60)}s`;
  return `${Math.floor(seconds / 3600)}h${pad(Math.floor((seconds % 3600) / 60))}m`;
}

/** A reader that went away, such as `head`, has what it wanted. */
function write(fd: number, text: string): void {
  let bytes = Buffer.from(text);
  while (bytes.length > 0) {
    try {
      bytes = bytes.subarray(writeSync(fd, bytes));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EPIPE') return;
      if (code !== 'EAGAIN') throw error;
      Bun.sleepSync(1);
    }
  }
}
