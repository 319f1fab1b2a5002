/**
 * Types of scripts, checked by the `tsc` of the author where there is one. The compiler is not in
 * the binary: TypeScript 7 is a native program of its own.
 */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { SCRIPT_TYPES, TEST_TYPES } from '../../scripts-runtime/types.ts';
import type { ScriptIssue } from '../messages/script-control.ts';

/** Without a tsconfig.json beside the scripts: what is wrong for sure, and no matters of style. */
const OPTIONS = {
  target: 'ESNext',
  module: 'Preserve',
  moduleResolution: 'bundler',
  lib: ['ESNext'],
  types: [],
  strict: true,
  noImplicitAny: false,
  noEmit: true,
  skipLibCheck: true,
  resolveJsonModule: true,
  allowImportingTsExtensions: true,
};

const TIMEOUT_MS = 60_000;
/** `scripts/route.ts(3,5): error TS2322: Type …` */
const COMPLAINT = /^(?<file>.+?)\((?<line>\d+),(?<column>\d+)\): error (?<message>TS\d+: .*)$/;

/**
 * @param files    scripts by name
 * @returns        what is wrong; undefined when there is no compiler on the PATH
 */
export function checkTypes(
  files: ReadonlyMap<string, string>,
  path = process.env['PATH'] ?? '',
): readonly ScriptIssue[] | undefined {
  const compiler = Bun.which('tsc', { PATH: `${resolve('node_modules/.bin')}:${path}` });
  if (compiler === null) return undefined;
  const folder = mkdtempSync(join(tmpdir(), 'culvert-types-'));
  try {
    const types = join(folder, 'culvert.d.ts');
    const project = join(folder, 'tsconfig.json');
    writeFileSync(types, `${SCRIPT_TYPES}\n${TEST_TYPES}`);
    const scripts = [...files.values()].map((file) => resolve(file));
    // The author's copy of the types would declare all of it a second time.
    const own = scripts.map((file) => join(dirname(file), 'culvert.d.ts')).filter(existsSync);
    const included = [...scripts, ...(own.length > 0 ? new Set(own) : [types])];
    writeFileSync(project, JSON.stringify({ ...settingsFor(included), files: included }));
    const { stdout } = Bun.spawnSync([compiler, '-p', project, '--pretty', 'false'], {
      timeout: TIMEOUT_MS,
      stderr: 'ignore',
    });
    return issuesOf(stdout.toString(), files);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Those of the author come first. */
function settingsFor(files: readonly string[]) {
  const own = files.map((file) => join(dirname(file), 'tsconfig.json')).find(existsSync);
  return own === undefined
    ? { compilerOptions: OPTIONS }
    : { extends: own, compilerOptions: { noEmit: true }, include: [] };
}

function issuesOf(output: string, files: ReadonlyMap<string, string>): ScriptIssue[] {
  const names = new Map([...files].map(([name, file]) => [resolve(file), name]));
  return output.split('\n').flatMap((text) => {
    const found = COMPLAINT.exec(text)?.groups;
    if (found === undefined) return [];
    const { file = '', line, column, message = '' } = found;
    const path = resolve(file);
    const place = { line: Number(line), column: Number(column) };
    const shown = relative(process.cwd(), path);
    return [{ script: names.get(path) ?? '', file: shown, ...place, kind: 'type', message }];
  });
}
