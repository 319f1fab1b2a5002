/**
 * The history of generations on disk: a file for each, so that numbers and contents outlive the
 * supervisor. A file is whole or not there (written aside, synced, renamed); one that was spoilt
 * since says so by its checksum, is named in the log, and left out. Losing the history costs a
 * rollback, never the gateway: no failure here is an error of the change that is written down.
 */
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { DEFAULT_SCRIPT_LIMITS } from '../../../scripts-runtime/limits.ts';
import type { Logger } from '../log/logger.ts';
import { type Generation, ORIGINS } from './generations.ts';

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
const UNFINISHED = /^\d+\.generation\.new$/;

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
  /** The highest number ever written, also of what cannot be read any more. */
  readonly lastNumber: number;
}

export class HistoryFiles {
  readonly #folder: string;
  readonly #log: Logger;
  readonly #length: number;

  /** @param length  files that are kept */
  constructor(folder: string, log: Logger, length: number) {
    this.#folder = folder;
    this.#log = log;
    this.#length = length;
  }

  /** Reads what is there, and clears away what was never finished. */
  load(): StoredHistory {
    try {
      mkdirSync(this.#folder, { recursive: true, mode: FOLDER_MODE });
      const files = this.#files();
      const generations = files.flatMap(({ name, number }) => this.#read(name, number));
      return { generations, lastNumber: files[0]?.number ?? 0 };
    } catch (error) {
      this.#log.warn({ folder: this.#folder, err: error }, 'history-not-read');
      return { generations: [], lastNumber: 0 };
    }
  }

  /** Writes a generation, and forgets the oldest ones. */
  write(generation: Generation): void {
    const path = join(this.#folder, nameOf(generation.number));
    try {
      const aside = `${path}.new`;
      const file = openSync(aside, 'w', FILE_MODE);
      try {
        writeFileSync(file, encode(generation));
        fsyncSync(file);
      } finally {
        closeSync(file);
      }
      renameSync(aside, path);
      this.#forgetOld();
      this.#syncFolder();
    } catch (error) {
      this.#log.error({ file: path, err: error }, 'history-not-written');
    }
  }

  /** Newest first. */
  #files(): { readonly name: string; readonly number: number }[] {
    return readdirSync(this.#folder)
      .flatMap((name) => {
        if (UNFINISHED.test(name)) this.#remove(name);
        const number = Number(NAME.exec(name)?.[1] ?? Number.NaN);
        return number <= NUMBER_MAX ? [{ name, number }] : [];
      })
      .sort((a, b) => b.number - a.number);
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

  #forgetOld(): void {
    for (const { name } of this.#files().slice(this.#length)) this.#remove(name);
  }

  /** Whatever it is that has the name. */
  #remove(name: string): void {
    rmSync(join(this.#folder, name), { force: true, recursive: true });
  }

  /** A rename is on disk when its folder is. */
  #syncFolder(): void {
    const folder = openSync(this.#folder, 'r');
    try {
      fsyncSync(folder);
    } finally {
      closeSync(folder);
    }
  }
}

const nameOf = (number: number): string => `${String(number).padStart(8, '0')}.generation`;

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
