/** The key of the hashes of generations, which has to be the same after a restart as before. */
import { randomBytes } from 'node:crypto';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from '../log/logger.ts';
import { HASH_KEY_BYTES } from './bundle-content.ts';

const NAME = 'hash.key';
const OWNER_ONLY = 0o600;

/**
 * Reads the key of a folder, or makes one where there is none. Where it cannot be kept, hashes are
 * others after the next start, and nothing else is.
 */
export function readHashKey(folder: string, log: Logger): Uint8Array {
  const file = join(folder, NAME);
  try {
    return readKey(file) ?? makeKey(file);
  } catch (error) {
    log.warn({ file, err: error }, 'hash-key-not-kept');
    return randomBytes(HASH_KEY_BYTES);
  }
}

/** Undefined where there is none, or none that is whole. */
function readKey(file: string): Uint8Array | undefined {
  try {
    const key = readFileSync(file);
    return key.length === HASH_KEY_BYTES ? key : undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function makeKey(file: string): Uint8Array {
  const key = randomBytes(HASH_KEY_BYTES);
  writeFileSync(`${file}.new`, key, { mode: OWNER_ONLY, flush: true });
  renameSync(`${file}.new`, file);
  return key;
}
