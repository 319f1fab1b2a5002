/**
 * The files of one script, from disk: what it imports, its tests, and what they import. Only what
 * lies below a folder is read, and a link that leads out of it is not followed.
 */
import { existsSync, realpathSync } from 'node:fs';
import { basename, dirname, extname, join, relative, sep } from 'node:path';
import {
  isModulePath,
  relativeImports,
  resolveModule,
} from '../../scripts-runtime/bundle/module-paths.ts';
import type { ScriptSource, TextFiles } from '../messages/script-control.ts';
import { readTextFile, UnreadableError } from './read-text-file.ts';

/** Source text of all scripts together, in bytes: what one reload may carry. */
export const BUNDLE_MAX_BYTES = 1024 * 1024;
/** Of one script, and as many again for its tests. */
export const SCRIPT_MAX_FILES = 64;

export type ScriptFiles = Pick<ScriptSource, 'source' | 'modules' | 'tests'>;

/** A file of a script cannot be used; the message begins with its path. */
export class ScriptFileError extends Error {
  override readonly name = 'ScriptFileError';
  readonly code = 'SCRIPT_FILE';
}

/**
 * Reads a script and all that belongs to it.
 *
 * @param file  absolute
 * @param root  folder below which files may be imported, besides that of the script
 * @throws ScriptFileError
 */
export function readScriptFiles(file: string, root = dirname(file)): ScriptFiles {
  const tree = new Tree(dirname(file), root);
  const entry = basename(file);
  const read = tree.readAll([entry], new Map());
  const stem = basename(file, extname(file));
  const names = [`${stem}.test.ts`, `${stem}.test.js`].filter((name) => tree.has(name));
  const tests = tree.readAll(names, read);
  const { [entry]: source = '', ...modules } = Object.fromEntries(read);
  return { source, ...unlessEmpty('modules', modules), ...unlessEmpty('tests', tests) };
}

const unlessEmpty = <K extends string>(key: K, files: TextFiles | ReadonlyMap<string, string>) => {
  const texts = files instanceof Map ? Object.fromEntries(files) : files;
  return Object.keys(texts).length === 0 ? {} : ({ [key]: texts } as Record<K, TextFiles>);
};

class Tree {
  readonly #folder: string;
  readonly #roots: readonly string[];

  constructor(folder: string, root: string) {
    this.#folder = folder;
    this.#roots = [folder, root];
  }

  /** Whether there is a file that may be imported, by its path from the folder of the script. */
  has = (path: string): boolean => {
    const file = join(this.#folder, path);
    return (
      this.#roots.some((root) => isBelow(root, file)) && existsSync(file) && this.#isInside(file)
    );
  };

  /** Texts of `paths` and of what they import, without those that are in `known`. */
  readAll(paths: readonly string[], known: ReadonlyMap<string, string>): Map<string, string> {
    const texts = new Map<string, string>();
    const waiting = [...paths];
    // One more than there may be: whoever counts them says so.
    for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
      if (texts.has(path) || known.has(path) || texts.size > SCRIPT_MAX_FILES) continue;
      const text = this.#read(path);
      texts.set(path, text);
      if (path.endsWith('.json')) continue;
      for (const specifier of relativeImports(text)) {
        const found = resolveModule(path, specifier, this.has);
        // What is not found is not an error yet: the text may only look like an import.
        if (found !== undefined && isModulePath(found)) waiting.push(found);
      }
    }
    return texts;
  }

  #read(path: string): string {
    const file = join(this.#folder, path);
    try {
      return readTextFile(file, BUNDLE_MAX_BYTES);
    } catch (cause) {
      if (!(cause instanceof UnreadableError)) throw cause;
      throw new ScriptFileError(`${file} ${cause.message}`, { cause });
    }
  }

  #isInside(file: string): boolean {
    const real = realpathSync(file);
    return this.#roots.some((root) => isBelow(realpathSync(root), real));
  }
}

const isBelow = (folder: string, file: string): boolean => {
  const path = relative(folder, file);
  return path !== '..' && !path.startsWith(`..${sep}`);
};
