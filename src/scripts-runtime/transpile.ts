/**
 * From the text of a script to what QuickJS runs. Bun's bundler does it, because unlike its
 * transpiler it gives a source map; it sees this one file and resolves nothing.
 */
import type { ScriptIssue, ScriptSource } from './bundle.ts';
import { type Place, SourceMap } from './source-map.ts';

/** The only module a script can import. */
export const BUILTIN_MODULE = 'culvert';

export interface Transpiled {
  readonly code: string;
  readonly map: SourceMap;
}

/** What is wrong with a text, at a place in it; line 0 when unknown. */
interface Complaint extends Place {
  readonly kind: string;
  readonly message: string;
}

/** @returns the code, or what is wrong with the source */
export async function transpile(
  script: ScriptSource,
): Promise<Transpiled | readonly ScriptIssue[]> {
  const loader = /\.[cm]?jsx?$/.test(script.file) ? 'js' : 'ts';
  const refused = checkImports(script.source, loader);
  const result = refused?.length ? refused : await bundle(script, loader, refused !== undefined);
  if ('code' in result) return result;
  return result.map((complaint) => ({ script: script.name, file: script.file, ...complaint }));
}

/** White space and comments, so that each text can be read in one way only. */
const GAP = String.raw`(?:\s|/\*(?:[^*]|\*(?!/))*\*/|//[^\n\r\u2028\u2029]*[\n\r\u2028\u2029])*`;
/** `"module" with { … }`: Bun would run a macro, which is code outside the sandbox. */
const IMPORT_ATTRIBUTES = new RegExp(`['"]${GAP}(?:with|assert)${GAP}\\{`);

/**
 * What is wrong with the imports that survive the removal of types. Undefined when the source
 * cannot be read: the bundler tells why, with a place.
 */
function checkImports(source: string, loader: 'js' | 'ts'): Complaint[] | undefined {
  const attributes = IMPORT_ATTRIBUTES.exec(source);
  if (attributes !== null) {
    const message = 'an import cannot have attributes ("with { … }")';
    return [{ ...placeAt(source, attributes.index), kind: 'load', message }];
  }
  let imports: Bun.Import[];
  try {
    imports = new Bun.Transpiler({ loader }).scanImports(source);
  } catch {
    return undefined;
  }
  return imports
    .filter(({ path, kind }) => path !== BUILTIN_MODULE || kind !== 'import-statement')
    .map(({ path, kind }) => ({
      ...placeOfText(source, path),
      kind: 'load',
      message:
        kind === 'import-statement'
          ? `cannot import "${path}": the only module is "${BUILTIN_MODULE}"`
          : `cannot load "${path}": import "${BUILTIN_MODULE}" at the top of the script instead`,
    }));
}

/** Where a module is named: its first occurrence in quotes. */
function placeOfText(source: string, path: string): Place {
  const at = ["'", '"', '`']
    .map((quote) => source.indexOf(quote + path + quote))
    .find((i) => i >= 0);
  return at === undefined ? { line: 0, column: 0 } : placeAt(source, at);
}

function placeAt(source: string, index: number): Place {
  const before = source.slice(0, index).split('\n');
  return { line: before.length, column: (before.at(-1)?.length ?? 0) + 1 };
}

async function bundle(
  script: ScriptSource,
  loader: 'js' | 'ts',
  areImportsChecked: boolean,
): Promise<Transpiled | Complaint[]> {
  const path = `/script.${loader}`;
  const result = await Bun.build({
    entrypoints: [path],
    files: { [path]: script.source },
    external: [BUILTIN_MODULE],
    format: 'esm',
    target: 'browser',
    env: 'disable',
    sourcemap: 'external',
    throw: false,
  });
  const complaints = result.logs
    .filter(({ level }) => level === 'error')
    .map(({ message, position }) => ({
      line: position?.line ?? 0,
      column: position?.column ?? 0,
      kind: 'syntax',
      message,
    }));
  const output = result.outputs[0];
  if (complaints.length > 0) return complaints;
  if (!result.success || !areImportsChecked || output?.sourcemap == null) {
    return [{ line: 0, column: 0, kind: 'syntax', message: 'cannot be transpiled' }];
  }
  const code = await output.text();
  const { mappings } = (await output.sourcemap.json()) as { mappings: string };
  return { code, map: new SourceMap(mappings, code, script.source) };
}
