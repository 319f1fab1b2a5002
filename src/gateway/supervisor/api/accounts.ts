/**
 * Users and groups by name, from the files of this machine. What a directory service knows besides
 * is not asked: a look-up may block, and the number can be written instead.
 */
import { readFileSync } from 'node:fs';

export type AccountKind = 'user' | 'group';

const FILES: Readonly<Record<AccountKind, string>> = { user: '/etc/passwd', group: '/etc/group' };

/** The uid or gid behind a name; undefined when there is none. */
export function idOf(kind: AccountKind, name: string, file = FILES[kind]): number | undefined {
  for (const line of readLines(file)) {
    // name:password:id:…, passwd(5) and group(5)
    const [found, , id = ''] = line.split(':');
    if (found === name && /^\d{1,10}$/.test(id)) return Number(id);
  }
  return undefined;
}

/** A machine without the file, as an image from scratch, has no names. */
function readLines(file: string): string[] {
  try {
    return readFileSync(file, 'utf8').split('\n');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
