/**
 * The files of a config: one, or all of a folder in the order of their names. Each may have any
 * sections; mappings grow together, lists are joined, and whoever says a value twice hears of it.
 */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { type Alias, type Document, isMap, isNode, isScalar, LineCounter, visit } from 'yaml';
import { isMapping } from './config-value.ts';
import { parseYaml } from './parse-yaml.ts';
import { readTextFile, UnreadableError } from './read-text-file.ts';

/** Something wrong in a document; line and column are 1-based, absent when unknown. */
export interface ConfigIssue {
  /** `listeners[0].ports`; empty for the document itself. */
  readonly path: string;
  readonly message: string;
  /** Of several files, the one that it is in. */
  readonly file?: string;
  readonly line?: number;
  readonly column?: number;
  /** The flag or variable that the value comes from, when it is not the file: `--mtu`. */
  readonly origin?: string;
}

/** Where a value stands. */
export type Place = Pick<ConfigIssue, 'file' | 'line' | 'column' | 'origin'>;

/** Listeners by the thousand, and far from what would hold up the gateway while it is read. */
export const FILE_MAX_BYTES = 4 * 1024 * 1024;

/** Of the files in a folder of them. */
export const CONFIG_NAMES = /^[^.].*\.(ya?ml|json)$/;

export interface ConfigDocument {
  readonly file: string;
  readonly document: Document;
  readonly lines: LineCounter;
}

/** A config cannot be read, or its files do not fit together. */
export class DocumentError extends Error {
  override readonly name = 'DocumentError';
  readonly code = 'CONFIG_UNREADABLE';
  readonly file: string;
  readonly issues: readonly ConfigIssue[];

  constructor(file: string, issues: readonly ConfigIssue[], options?: ErrorOptions) {
    super(issues.map(({ message }) => message).join('\n'), options);
    this.file = file;
    this.issues = issues;
  }
}

/** Whether there is a folder of config files; one that cannot be read is for whoever reads it. */
export function hasFiles(folder: string): boolean {
  try {
    return filesOf(folder).length > 0;
  } catch (error) {
    if (!(error instanceof DocumentError)) throw error;
    return existsSync(folder);
  }
}

/** The files of a config folder, in the order of their names. @throws DocumentError */
export function filesOf(folder: string): string[] {
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'unknown';
    throw new DocumentError(folder, [{ path: '', message: `cannot be read: ${code}` }], { cause });
  }
  return names
    .filter((name) => CONFIG_NAMES.test(name))
    .sort()
    .map((name) => join(folder, name));
}

/** @throws DocumentError */
export function readDocument(file: string): ConfigDocument {
  try {
    return parseText(readTextFile(file, FILE_MAX_BYTES), file);
  } catch (cause) {
    if (!(cause instanceof UnreadableError)) throw cause;
    throw new DocumentError(file, [{ path: '', message: cause.message }], { cause });
  }
}

/** @throws DocumentError  for what is no YAML */
export function parseText(text: string, file: string): ConfigDocument {
  const lines = new LineCounter();
  const document = parseYaml(text, { lineCounter: lines });
  if (document.errors.length === 0) return { file, document, lines };
  throw new DocumentError(
    file,
    document.errors.map(({ message, pos }) => ({ path: '', message, ...at(lines, pos[0]) })),
  );
}

/** Several documents as one value, which still knows where each part of it stands. */
export class MergedConfig {
  readonly value: unknown;
  readonly #single: ConfigDocument | undefined;
  /** Of a path as JSON: the document, and the path there. */
  readonly #origins = new Map<string, { document: ConfigDocument; path: PropertyKey[] }>();
  readonly #conflicts: ConfigIssue[] = [];

  /** @throws DocumentError  for a value that two files say differently */
  constructor(documents: readonly ConfigDocument[]) {
    this.#single = documents.length === 1 ? documents[0] : undefined;
    const values = documents.map((document) => ({ document, value: toValue(document) }));
    this.value = values.reduce<unknown>((merged, { document, value }) => {
      if (value === undefined || value === null) return merged;
      return this.#merge(merged, value, document, [], []);
    }, undefined);
    if (this.#conflicts.length === 0) return;
    throw new DocumentError(this.#conflicts[0]?.file ?? '', this.#conflicts);
  }

  /**
   * Place of the innermost part of `path` that a document has.
   *
   * @param isKey  it is the last key that is asked for, and not its value
   */
  placeOf(path: readonly PropertyKey[], isKey = false): Place {
    for (let depth = path.length; depth >= 0; depth--) {
      const origin = this.#origins.get(JSON.stringify(path.slice(0, depth)));
      if (origin === undefined) continue;
      const place = locate(origin.document, [...origin.path, ...path.slice(depth)], isKey);
      return this.#single === undefined ? { file: origin.document.file, ...place } : place;
    }
    return {};
  }

  #merge(
    into: unknown,
    from: unknown,
    document: ConfigDocument,
    path: PropertyKey[],
    pathThere: PropertyKey[],
  ): unknown {
    if (into === undefined) {
      this.#origins.set(JSON.stringify(path), { document, path: pathThere });
      return from;
    }
    if (isMapping(into) && isMapping(from)) {
      const merged = { ...into };
      for (const [key, value] of Object.entries(from)) {
        merged[key] = this.#merge(
          merged[key],
          value,
          document,
          [...path, key],
          [...pathThere, key],
        );
      }
      return merged;
    }
    if (Array.isArray(into) && Array.isArray(from)) {
      from.forEach((_, index) => {
        const there = [...pathThere, index];
        this.#origins.set(JSON.stringify([...path, into.length + index]), {
          document,
          path: there,
        });
      });
      return [...into, ...from];
    }
    if (!Bun.deepEquals(into, from)) this.#reportConflict(document, path, pathThere);
    return into;
  }

  #reportConflict(document: ConfigDocument, path: PropertyKey[], pathThere: PropertyKey[]): void {
    const { file, line, column } = this.placeOf(path);
    this.#conflicts.push({
      path: formatPath(path),
      message: `says otherwise than ${file}:${line}:${column}`,
      file: document.file,
      ...locate(document, pathThere),
    });
  }
}

/** `listeners[0].ports` */
export function formatPath(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, key) => {
    if (typeof key === 'number') return `${text}[${key}]`;
    return text === '' ? String(key) : `${text}.${String(key)}`;
  }, '');
}

/** The document as plain values. @throws DocumentError  for an alias of nothing, or of too much */
function toValue({ document, file, lines }: ConfigDocument): unknown {
  try {
    return document.toJS();
  } catch (cause) {
    if (!(cause instanceof ReferenceError)) throw cause;
    const aliases: Alias[] = [];
    visit(document, { Alias: (_, alias) => void aliases.push(alias) });
    const dangling = aliases.find((alias) => alias.resolve(document) === undefined);
    // What is too much is so in the end: the last alias repeats the most.
    const offset = (dangling ?? aliases.at(-1))?.range?.[0] ?? 0;
    const issue = { path: '', message: cause.message, ...at(lines, offset) };
    throw new DocumentError(file, [issue], { cause });
  }
}

function locate(
  { document, lines }: ConfigDocument,
  path: readonly PropertyKey[],
  isKey = false,
): Place {
  const parent = isKey ? document.getIn(path.slice(0, -1), true) : undefined;
  const pairs = isMap(parent) ? parent.items : [];
  const found = pairs.find(({ key }) => isScalar(key) && key.value === path.at(-1))?.key;
  if (isScalar(found) && found.range) return at(lines, found.range[0]);
  for (let depth = path.length; depth >= 0; depth--) {
    const node = document.getIn(path.slice(0, depth), true);
    if (isNode(node) && node.range) return at(lines, node.range[0]);
  }
  return {};
}

function at(lines: LineCounter, offset: number): Place {
  const { line, col } = lines.linePos(offset);
  return line === 0 ? {} : { line, column: col };
}
