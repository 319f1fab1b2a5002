/**
 * Has scripts count which of their lines run. QuickJS has no counters, so they are put into the
 * TypeScript text itself, by what istanbul has for that; where its author has lines and columns, a
 * source map keeps. Only texts that go to the tests are changed.
 */
import { posix } from 'node:path';
import { type BabelFileResult, type PluginObj, transformSync, type types } from '@babel/core';
import type { FileCoverageData } from 'istanbul-lib-coverage';
import { programVisitor } from 'istanbul-lib-instrument';
import type { OriginalText, ScriptSource } from '../../scripts-runtime/bundle/bundle.ts';
import { keepInferredNames } from './inferred-names.ts';

export interface InstrumentedScripts {
  readonly scripts: readonly ScriptSource[];
  /** What is counted in each file that is not a test; all counters are 0. */
  readonly files: readonly FileCoverageData[];
  /** Files that get no counters, and why: they are loaded as they are. */
  readonly unread: readonly string[];
}

/** What is no standard yet, and is understood where scripts run. */
const SYNTAX = ['decorators', 'decoratorAutoAccessors'] as const;

/** Tests stay as they are, and so does what only they import. */
export function instrumentScripts(scripts: readonly ScriptSource[]): InstrumentedScripts {
  const files = new Map<string, FileCoverageData>();
  const unread = new Set<string>();
  const instrumented = scripts.map((script) => {
    const folder = posix.dirname(script.file);
    const originals: Record<string, OriginalText> = {};
    const change = (path: string, text: string): string => {
      if (path.endsWith('.json')) return text;
      const file = posix.join(folder, path);
      const result = instrument(file, text);
      if (typeof result === 'string') {
        unread.add(result);
        return text;
      }
      if (hasCounters(result.coverage)) files.set(file, result.coverage);
      originals[path] = { text, mappings: result.mappings };
      return result.code;
    };
    const source = change(posix.basename(script.file), script.source);
    const modules = Object.entries(script.modules ?? {}).map(
      ([path, text]) => [path, change(path, text)] as const,
    );
    return { ...script, source, modules: Object.fromEntries(modules), originals };
  });
  return { scripts: instrumented, files: [...files.values()], unread: [...unread] };
}

/** A file of types, or one whose author wants it to be ignored, has none. */
const hasCounters = ({ s, f, b }: FileCoverageData): boolean =>
  [s, f, b].some((counters) => Object.keys(counters).length > 0);

interface Instrumented {
  readonly code: string;
  /** As of OriginalText. */
  readonly mappings: string;
  readonly coverage: FileCoverageData;
}

/** @returns in words, why it cannot be done */
function instrument(path: string, text: string): Instrumented | string {
  const found: FileCoverageData[] = [];
  const output = transform(path, text, found);
  if (output instanceof Error) {
    // The text may run all the same: an imported type and a value of one name collide for Babel.
    return `${path} is not counted: ${firstLine(output.message, path)}`;
  }
  const { code, map } = output;
  const [coverage] = found;
  if (code == null || map == null || coverage === undefined) {
    throw new Error(`${path} came without counters`);
  }
  return { code, mappings: map.mappings, coverage };
}

/** @returns the error of Babel, which is of any class */
function transform(path: string, text: string, found: FileCoverageData[]): BabelFileResult | Error {
  try {
    const output = transformSync(text, {
      filename: path,
      // The folder that an author happens to stand in configures nothing.
      ...{ configFile: false, babelrc: false, browserslistConfigFile: false },
      ...{ sourceMaps: true, compact: true },
      // @ts-expect-error: it may be false, which its declaration does not know
      inputSourceMap: false,
      parserOpts: {
        sourceType: 'module',
        plugins: [...SYNTAX, ...(path.endsWith('.ts') ? (['typescript'] as const) : [])],
      },
      plugins: [(babel: { types: typeof types }) => countersOf(babel.types, path, found)],
    });
    return output ?? {};
  } catch (error) {
    if (error instanceof Error) return error;
    throw error;
  }
}

/** Before it stands the absolute path, and some lines of the source may follow. */
function firstLine(message: string, path: string): string {
  const [line = message] = message.split('\n');
  const [, text = line] = line.split(`${path}: `);
  return text;
}

/** A plugin of Babel. @param found  gets what is counted */
function countersOf(babelTypes: typeof types, path: string, found: FileCoverageData[]): PluginObj {
  const { enter, exit } = programVisitor(babelTypes, path, {
    coverageVariable: '__coverage__',
    coverageGlobalScope: 'globalThis',
    // Code cannot be made from text in the sandbox.
    coverageGlobalScopeFunc: false,
  });
  return {
    visitor: {
      ...keepInferredNames(babelTypes),
      Program: {
        enter: (program) => enter(program),
        exit: (program) => {
          found.push(exit(program).fileCoverage);
        },
      },
    },
  };
}
