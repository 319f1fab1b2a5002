/** Reads a config: files to YAML to schema, every error with its place. */
import { dirname, resolve } from 'node:path';
import type { z } from 'zod';
import { nearest } from '../../scripts-runtime/suggest.ts';
import {
  type ConfigDocument,
  type ConfigIssue,
  DocumentError,
  filesOf,
  formatPath,
  MergedConfig,
  type Place,
  parseText,
  readDocument,
} from './documents.ts';
import { applyOverrides, type Overrides, originOf } from './overrides.ts';
import { type Config, configJsonSchema, configSchema } from './schema.ts';
import { keysAt, type SchemaNode, walkSchema } from './schema-tree.ts';

export type { ConfigIssue };

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
  /** The file, or the folder of files; absent for the embedded default. */
  readonly file?: string;
  /** Folder that relative paths of the config start from. */
  readonly folder: string;
  /** What was written, without defaults, flags and environment. */
  readonly value?: unknown;
  /** Where a value was said; absent for the embedded default. */
  readonly placeOf?: (path: readonly PropertyKey[]) => Place;
}

/** What is read: a file, a folder of files, or both, the file first. */
export interface ConfigFiles {
  readonly file?: string;
  readonly folder?: string;
}

/**
 * Reads and validates the files of a config, YAML or JSON.
 *
 * @throws ConfigError  with the place of each issue
 */
export function loadConfigFiles(files: ConfigFiles, overrides: Overrides): LoadedConfig {
  const { documents, name, folder } = readConfigFiles(files);
  const merged = explainErrors(() => new MergedConfig(documents));
  const placeOf = (path: readonly PropertyKey[], isKey = false) =>
    originOf(overrides, path) ?? merged.placeOf(path, isKey);
  const config = validate(merged.value ?? {}, overrides, name, placeOf);
  return { config, file: name, folder, placeOf, value: merged.value ?? {} };
}

/** The same of one file. @throws ConfigError */
export const loadConfigFile = (file: string, overrides: Overrides): LoadedConfig =>
  loadConfigFiles({ file }, overrides);

/**
 * The documents of a config, in the order in which they are merged.
 *
 * @throws ConfigError  for what cannot be read or is no YAML
 */
export function readConfigFiles({ file, folder }: ConfigFiles): {
  readonly documents: readonly ConfigDocument[];
  /** Of the file, or of the folder where there is none. */
  readonly name: string;
  readonly folder: string;
} {
  const first = file === undefined ? undefined : resolve(file);
  const place = folder === undefined ? undefined : resolve(folder);
  const name = first ?? place ?? '';
  const documents = explainErrors(() =>
    [...(first === undefined ? [] : [first]), ...(place === undefined ? [] : filesOf(place))].map(
      readDocument,
    ),
  );
  const base = first === undefined ? name : dirname(first);
  if (documents.length > 0) return { documents, name, folder: base };
  throw new ConfigError(name, [{ path: '', message: 'has no *.yaml, *.yml or *.json file' }]);
}

/**
 * Validates the text of a config; `overrides` win over what it says.
 *
 * @throws ConfigError
 */
export function parseConfig(text: string, file: string, overrides: Overrides = []): Config {
  const merged = explainErrors(() => new MergedConfig([parseText(text, file)]));
  return validate(merged.value ?? {}, overrides, file, (path, isKey) =>
    merged.placeOf(path, isKey),
  );
}

/** Validates a config that is not a file, such as the embedded default. */
export function validateConfig(value: unknown, name: string, overrides: Overrides): Config {
  return validate(value, overrides, name, () => ({}));
}

/** @throws ConfigError  instead of DocumentError */
function explainErrors<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof DocumentError)) throw error;
    throw new ConfigError(error.file, error.issues, { cause: error });
  }
}

function validate(
  value: unknown,
  overrides: Overrides,
  file: string,
  placeOf: (path: PropertyKey[], isKey: boolean) => Place,
): Config {
  const result = configSchema.safeParse(applyOverrides(value, overrides));
  if (result.success) return result.data;
  throw new ConfigError(
    file,
    flatten(result.error.issues).map(({ path, message, isKey = false }) => ({
      path: formatPath(path),
      message,
      ...(originOf(overrides, path) ?? placeOf(path, isKey)),
    })),
  );
}

interface FlatIssue {
  readonly path: PropertyKey[];
  readonly message: string;
  /** It is about the last key of the path, and not about its value. */
  readonly isKey?: boolean;
}

/** One issue per unknown key; of a union, the branch that says most. */
function flatten(issues: readonly z.core.$ZodIssue[]): FlatIssue[] {
  return issues.flatMap((issue) => {
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => ({
        path: [...issue.path, key],
        message: `unknown key${suggestion(issue.path, key)}`,
        isKey: true,
      }));
    }
    if (issue.code === 'invalid_union') {
      const told = issue.errors.flat().find((inner) => inner.code === 'custom');
      const unknown = issue.errors.flat().find((inner) => inner.code === 'unrecognized_keys');
      if (told === undefined && unknown !== undefined) {
        return flatten([{ ...unknown, path: [...issue.path, ...unknown.path] }]);
      }
      const inner = told ?? issue.errors.flat().find((found) => found.code !== 'invalid_type');
      if (inner !== undefined) {
        return [{ path: [...issue.path, ...inner.path], message: inner.message }];
      }
    }
    return [{ path: [...issue.path], message: issue.message }];
  });
}

/** A key of the same mapping that is spelt nearly so, or the place where there is such a key. */
function suggestion(path: readonly PropertyKey[], key: string): string {
  const schema = configJsonSchema() as SchemaNode;
  const here = nearest(key, keysAt(schema, path));
  if (here !== undefined) return `, did you mean "${here}"?`;
  const places: string[] = [];
  walkSchema(schema, (place) => {
    if (place.endsWith(`.${key}`) && !/[[*]/.test(place)) places.push(place);
  });
  return places.length === 1 ? `, did you mean "${places[0]}"?` : '';
}

/** `config.yaml:3:5: device.mtu: message`, `--mtu: device.mtu: message` */
function formatIssue(file: string, issue: ConfigIssue): string {
  const { line, column, origin } = issue;
  const name = issue.file ?? file;
  const place = origin ?? (line === undefined ? name : `${name}:${line}:${column ?? 1}`);
  return issue.path === ''
    ? `${place}: ${issue.message}`
    : `${place}: ${issue.path}: ${issue.message}`;
}
