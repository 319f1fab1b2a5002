/** Documents that are made of the code: a test compares them, and writes them when told to. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = join(import.meta.dir, '../..');

/**
 * @returns what stands in `path`, which `CULVERT_WRITE_DOCS=1 bun test` makes `text` before
 */
export function documentAt(path: string, text: string): string {
  const file = join(ROOT, path);
  if (process.env['CULVERT_WRITE_DOCS'] === '1') writeFileSync(file, text);
  return readFileSync(file, 'utf8');
}
