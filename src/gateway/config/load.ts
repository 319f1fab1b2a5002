/** Reads a config: text to YAML to schema, every error with its place. */
import { dirname, resolve } from 'node:path';
import { type Alias, type Document, isNode, LineCounter, parseDocument, visit } from 'yaml';
import type { z } from 'zod';
import { applyOverrides, type Overrides, originOf } from './overrides.ts';
import { readTextFile, UnreadableError } from './read-text-file.ts';
import { type Config, configSchema } from './schema.ts';

/** Something wrong in a document; line and column are 1-based, absent when unknown. */
export interface ConfigIssue {
  /** `listeners[0].ports`; empty for the document itself. */
  readonly path: string;
  readonly message: string;
  readonly line?: number;
  readonly column?: number;
  /** The flag or variable that the value comes from, when it is not the file: `--mtu`. */
  readonly origin?: string;
}

/** Listeners by the thousand, and far from what would hold up the gateway while it is read. */
const FILE_MAX_BYTES = 4 * 1024 * 1024;

/** A config that cannot be used. The message has one line for each issue. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly code = 'CONFIG_INVALID';
  readonly file: string;
  readonly issues: readonly ConfigIssue[];

  constructor(file: string, issues: readonly ConfigIssue[], options?: ErrorOptions) {
    super(issues.map((issue) => formatIssue(file, issue)).join('\n'), options);
    this.file = file;
    this.issues = issues;
  }
}

/** A config and where it came from. */
export interface LoadedConfig {
  readonly config: Config;
  /** Absent for the embedded default. */
  readonly file?: string;
  /** Folder that relative paths of the config start from. */
  readonly folder: string;
  /** What was written, without defaults, flags and environment. */
  readonly value?: unknown;
}

/**
 * Reads and validates a config file, YAML or JSON.
 *
 * @throws ConfigError  with the place of each issue
 */
export function loadConfigFile(file: string, overrides: Overrides): LoadedConfig {
  const path = resolve(file);
  let text: string;
  try {
    text = readTextFile(path, FILE_MAX_BYTES);
  } catch (cause) {
    if (!(cause instanceof UnreadableError)) throw cause;
    throw new ConfigError(path, [{ path: '', message: cause.message }], { cause });
  }
  const config = parseConfig(text, path, overrides);
  return { config, file: path, folder: dirname(path), value: parseDocument(text).toJS() ?? {} };
}

/**
 * Validates the text of a config; `overrides` win over what it says.
 *
 * @throws ConfigError
 */
export function parseConfig(text: string, file: string, overrides: Overrides = []): Config {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  if (document.errors.length > 0) {
    throw new ConfigError(
      file,
      document.errors.map((error) => ({
        path: '',
        message: error.message,
        ...at(lines, error.pos[0]),
      })),
    );
  }
  const value = toValue(document, file, lines) ?? {};
  return validate(value, overrides, file, (path) => locate(document, lines, path));
}

/** Validates a config that is not a file, such as the embedded default. */
export function validateConfig(value: unknown, name: string, overrides: Overrides): Config {
  return validate(value, overrides, name, () => ({}));
}

type Place = Pick<ConfigIssue, 'line' | 'column' | 'origin'>;

/** The document as plain values. @throws ConfigError  for an alias of nothing, or of too much */
function toValue(document: Document, file: string, lines: LineCounter): unknown {
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
    throw new ConfigError(file, [issue], { cause });
  }
}

function validate(
  value: unknown,
  overrides: Overrides,
  file: string,
  placeOf: (path: PropertyKey[]) => Place,
): Config {
  const result = configSchema.safeParse(applyOverrides(value, overrides));
  if (result.success) return result.data;
  throw new ConfigError(
    file,
    flatten(result.error.issues).map(({ path, message }) => ({
      path: formatPath(path),
      message,
      ...(originOf(overrides, path) ?? placeOf(path)),
    })),
  );
}

/** One issue per unknown key; of a union, the branch that says most. */
function flatten(issues: readonly z.core.$ZodIssue[]): { path: PropertyKey[]; message: string }[] {
  return issues.flatMap((issue) => {
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => ({ path: [...issue.path, key], message: 'unknown key' }));
    }
    if (issue.code === 'invalid_union') {
      const told = issue.errors.flat().find((inner) => inner.code === 'custom');
      const inner = told ?? issue.errors.flat().find((found) => found.code !== 'invalid_type');
      if (inner !== undefined) {
        return [{ path: [...issue.path, ...inner.path], message: inner.message }];
      }
    }
    return [{ path: [...issue.path], message: issue.message }];
  });
}

/** Place of the innermost node of `path` that the document has. */
function locate(document: Document, lines: LineCounter, path: readonly PropertyKey[]): Place {
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

/** `listeners[0].ports` */
function formatPath(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, key) => {
    if (typeof key === 'number') return `${text}[${key}]`;
    return text === '' ? String(key) : `${text}.${String(key)}`;
  }, '');
}

/** `config.yaml:3:5: device.mtu: message`, `--mtu: device.mtu: message` */
function formatIssue(file: string, issue: ConfigIssue): string {
  const { line, column, origin } = issue;
  const place = origin ?? (line === undefined ? file : `${file}:${line}:${column ?? 1}`);
  return issue.path === ''
    ? `${place}: ${issue.message}`
    : `${place}: ${issue.path}: ${issue.message}`;
}
