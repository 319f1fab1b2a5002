/**
 * The history of generations on disk: a file for each, so that numbers and contents outlive the
 * supervisor. A generation is written before anything decides by it, under a name of its own, and
 * gets its real name when it has taken over. So the process may die at any moment: what has taken
 * over is there whole, and a number that flows may have seen is never given again.
 *
 * A file that was spoilt since says so by its checksum, is named in the log, and left out. Losing
 * the history costs a rollback, never the gateway: no failure here is an error of the change that
 * is written down. Disks are slow, and the supervisor has other work: it waits for none.
 */
import { type Dirent, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { DEFAULT_SCRIPT_LIMITS } from '../../../scripts-runtime/limits.ts';
import type { Logger } from '../log/logger.ts';
import { type Generation, ORIGINS } from './generation.ts';

/** First word of a file; the number counts formats. */
const MAGIC = 'culvert-generation-1';
/** The scripts and their vars may be secrets. */
const FOLDER_MODE = 0o700;
const FILE_MODE = 0o600;
/** Far above what a bundle and its vars may have; what is larger was not written here. */
const FILE_BYTES_MAX = 64 * 1024 * 1024;
/** Rows of flows have 32 bits for it; what is above was not counted up to here. */
const NUMBER_MAX = 2 ** 31;
const NAME = /^(\d{8,})\.generation$/;
/** Written, and not yet, or never, the one that decides. */
const PREPARED = /^(\d{8,})\.generation\.new$/;

const generationFile = z.looseObject({
  number: z.int().positive(),
  hash: z.string(),
  origin: z.enum(ORIGINS),
  copyOf: z.number().exactOptional(),
  createdAt: z.number(),
  scripts: z.array(z.looseObject({ name: z.string(), file: z.string(), source: z.string() })),
  vars: z.record(z.string(), z.string()),
  limits: z.record(z.string(), z.number()),
});

/** What was found on disk. */
export interface StoredHistory {
  /** Newest first. */
  readonly generations: readonly Generation[];
  /** The highest number ever prepared, also of what cannot be read any more. */
  readonly lastNumber: number;
}

export class HistoryFiles {
  readonly #folder: string;
  readonly #log: Logger;
  readonly #length: number;
  /** Number of what is written under the name of what is not finished. */
  #prepared = 0;

  /** @param length  files that are kept */
  constructor(folder: string, log: Logger, length: number) {
    this.#folder = folder;
    this.#log = log;
    this.#length = length;
  }

  /** Reads what is there. */
  load(): StoredHistory {
    try {
      mkdirSync(this.#folder, { recursive: true, mode: FOLDER_MODE });
      const { finished, prepared } = filesIn(readdirSync(this.#folder, { withFileTypes: true }));
      const generations = finished.flatMap(({ name, number }) => this.#read(name, number));
      // What was prepared last may have decided about flows, whatever became of it.
      const lastNumber = Math.max(0, ...[...finished, ...prepared].map(({ number }) => number));
      return { generations, lastNumber };
    } catch (error) {
      this.#log.warn({ folder: this.#folder, err: error }, 'history-not-read');
      return { generations: [], lastNumber: 0 };
    }
  }

  /** Writes a generation that is about to decide; then its number is taken for good. */
  prepare(generation: Generation): Promise<void> {
    return this.#try(generation, () => this.#prepare(generation));
  }

  /** It has taken over: makes it a part of the history, and forgets the oldest ones. */
  commit(generation: Generation): Promise<void> {
    const { number } = generation;
    return this.#try(generation, async () => {
      if (this.#prepared !== number) await this.#prepare(generation);
      this.#prepared = 0;
      const path = this.#pathOf(number);
      await rename(`${path}.new`, path);
      await this.#syncFolder();
      await this.#forgetOld(number);
    });
  }

  async #prepare(generation: Generation): Promise<void> {
    const { number } = generation;
    const file = await open(`${this.#pathOf(number)}.new`, 'w', FILE_MODE);
    try {
      await file.writeFile(encode(generation));
      await file.sync();
    } finally {
      await file.close();
    }
    await this.#syncFolder();
    this.#prepared = number;
  }

  async #try({ number }: Generation, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#log.error({ file: this.#pathOf(number), err: error }, 'history-not-written');
    }
  }

  #pathOf(number: number): string {
    return join(this.#folder, `${String(number).padStart(8, '0')}.generation`);
  }

  #read(name: string, number: number): Generation[] {
    const file = join(this.#folder, name);
    try {
      return [decode(readBounded(file), number)];
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      this.#log.warn({ file, why }, 'history-file-skipped');
      return [];
    }
  }

  /** @param number  whose file keeps all numbers before it taken */
  async #forgetOld(number: number): Promise<void> {
    const { finished, prepared, strange } = filesIn(
      await readdir(this.#folder, { withFileTypes: true }),
    );
    const passed = prepared.filter((file) => file.number <= number);
    for (const { name } of [...finished.slice(this.#length), ...passed, ...strange]) {
      // Whatever it is that has the name.
      await rm(join(this.#folder, name), { force: true, recursive: true });
    }
  }

  /** A rename is on disk when its folder is. */
  async #syncFolder(): Promise<void> {
    const folder = await open(this.#folder, 'r');
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  }
}

interface HistoryFile {
  readonly name: string;
  readonly number: number;
}

/** Each newest first. */
function filesIn(entries: readonly Dirent[]): {
  readonly finished: readonly HistoryFile[];
  readonly prepared: readonly HistoryFile[];
  /** Has the name of what was prepared, and cannot be it. */
  readonly strange: readonly { readonly name: string }[];
} {
  const named = (pattern: RegExp) =>
    entries
      .flatMap((entry) => {
        const number = Number(pattern.exec(entry.name)?.[1] ?? Number.NaN);
        return number <= NUMBER_MAX ? [{ name: entry.name, number, isFile: entry.isFile() }] : [];
      })
      .sort((a, b) => b.number - a.number);
  const prepared = named(PREPARED);
  return {
    finished: named(NAME),
    prepared: prepared.filter(({ isFile }) => isFile),
    strange: prepared.filter(({ isFile }) => !isFile),
  };
}

const checksumOf = (text: string): string =>
  new Bun.CryptoHasher('sha256').update(text).digest('hex');

/** A line with the checksum of all that follows it, and the generation as JSON. */
function encode(generation: Generation): string {
  const text = JSON.stringify(generation);
  return `${MAGIC} ${checksumOf(text)}\n${text}`;
}

/** @throws Error  in words why the text is no generation of that number */
function decode(content: string, number: number): Generation {
  const end = content.indexOf('\n');
  const [magic, checksum] = content.slice(0, end).split(' ');
  const text = content.slice(end + 1);
  if (magic !== MAGIC) throw new Error('no file of this version of culvert');
  if (checksum !== checksumOf(text)) throw new Error('its checksum is wrong');
  const { limits, ...rest } = generationFile.parse(JSON.parse(text));
  if (rest.number !== number) throw new Error(`it holds generation ${rest.number}`);
  // A limit that is younger than the file has its default.
  return { ...rest, limits: { ...DEFAULT_SCRIPT_LIMITS, ...limits } };
}

function readBounded(file: string): string {
  const { size } = statSync(file);
  if (size > FILE_BYTES_MAX) throw new Error(`it has ${size} bytes`);
  return readFileSync(file, 'utf8');
}
