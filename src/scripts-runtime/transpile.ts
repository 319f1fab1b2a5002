/**
 * From the text of a script to what QuickJS runs. Bun's bundler does it, because unlike its
 * transpiler it gives a source map.
 *
 * The text is of a stranger, and a bundler does more than to translate: it resolves what a text
 * names from disk or from `data:` URLs, folds `'a' + 'b'` into such names, and runs macros, which
 * are code outside of every sandbox. So the bundler asks us for every module: it gets the script
 * itself and `culvert`, and nothing else exists for it. Macros do not ask, and are turned off.
 */
import type { ScriptIssue, ScriptSource } from './bundle.ts';
import { cutText } from './cut-text.ts';
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

type Loader = 'js' | 'ts';

/** As many as somebody reads; a bundler can find one on each line. */
const COMPLAINTS_MAX = 20;

/** UTF-16 units of the name of a module in a message: a `data:` URL holds whole files. */
const SHOWN_NAME_LENGTH = 100;

/** The module that the engine serves for one that a text names; undefined where there is none. */
export type Externals = (path: string) => string | undefined;

const scriptExternals: Externals = (path) => (path === BUILTIN_MODULE ? path : undefined);

/** @returns the code, or what is wrong with the source */
export async function transpile(
  script: ScriptSource,
  externals = scriptExternals,
): Promise<Transpiled | readonly ScriptIssue[]> {
  const loader = /\.[cm]?jsx?$/.test(script.file) ? 'js' : 'ts';
  const attributes = findAttributes(script.source);
  const result =
    attributes === undefined ? await bundle(script.source, loader, externals) : [attributes];
  if ('code' in result) return result;
  return result
    .slice(0, COMPLAINTS_MAX)
    .map((complaint) => ({ script: script.name, file: script.file, ...complaint }));
}

/** White space and comments, so that each text can be read in one way only. */
const GAP = String.raw`(?:\s|/\*(?:[^*]|\*(?!/))*\*/|//[^\n\r\u2028\u2029]*[\n\r\u2028\u2029])*`;
/** `"module" with { … }`. */
const IMPORT_ATTRIBUTES = new RegExp(`['"]${GAP}(?:with|assert)${GAP}\\{`);

/**
 * Attributes have no meaning here, and the bundler would say so in its own words or not at all. It
 * is the bundler's settings that keep macros from running, not this look at the text.
 */
function findAttributes(source: string): Complaint | undefined {
  const found = IMPORT_ATTRIBUTES.exec(source);
  if (found === null) return undefined;
  const message = 'an import cannot have attributes ("with { … }")';
  return { ...placeAt(source, found.index), kind: 'load', message };
}

/**
 * Where the bundler believes the script to be. It refuses macros to what lies in a package, which
 * is the second lock beside `macros: false`.
 */
const ENTRY_FOLDER = '/node_modules/script';
const ENTRY_NAMESPACE = 'script';

/** `macros` is read by Bun 1.4 and missing in its types. */
const NO_MACROS: Pick<Bun.BuildConfig, 'env'> & { readonly macros: false } = {
  env: 'disable',
  macros: false,
};

async function bundle(
  source: string,
  loader: Loader,
  externals: Externals,
): Promise<Transpiled | Complaint[]> {
  const refused: Complaint[] = [];
  const result = await Bun.build({
    ...NO_MACROS,
    entrypoints: ['script'],
    plugins: [closedWorld(source, loader, externals, refused)],
    format: 'esm',
    target: 'browser',
    sourcemap: 'external',
    throw: false,
  });
  if (refused.length > 0) return refused.sort((a, b) => a.line - b.line || a.column - b.column);
  const complaints = result.logs
    .filter(({ level }) => level === 'error')
    .map(({ message, position }) => ({
      line: position?.line ?? 0,
      column: position?.column ?? 0,
      kind: 'syntax',
      message: cutText(message),
    }));
  if (complaints.length > 0) return complaints;
  const output = result.outputs[0];
  if (!result.success || output?.sourcemap == null) {
    return [{ line: 0, column: 0, kind: 'syntax', message: 'cannot be transpiled' }];
  }
  const code = await output.text();
  const { mappings } = (await output.sourcemap.json()) as { mappings: string };
  return { code, map: new SourceMap(mappings, code, source) };
}

/** Answers every question of the bundler for a module, so that it never looks for one itself. */
const closedWorld = (
  source: string,
  loader: Loader,
  externals: Externals,
  refused: Complaint[],
): Bun.BunPlugin => ({
  name: 'closed-world',
  setup(build) {
    build.onResolve({ filter: /.*/ }, ({ path, kind }) => {
      if (kind === 'entry-point-build') {
        return { path: `${ENTRY_FOLDER}/script.${loader}`, namespace: ENTRY_NAMESPACE };
      }
      const served = kind === 'import-statement' ? externals(path) : undefined;
      if (served !== undefined) return { path: served, external: true };
      refused.push(refuse(source, path, kind));
      // Whatever becomes of the complaint, the bundler must not go on by itself.
      throw new Error(`"${path}" is out of reach`);
    });
    build.onLoad({ filter: /.*/, namespace: ENTRY_NAMESPACE }, () => ({
      contents: source,
      loader,
    }));
    // Of the file system, which is what a filter without a namespace means.
    build.onLoad({ filter: /.*/ }, ({ path }) => {
      throw new Error(`"${path}" is out of reach`);
    });
  },
});

function refuse(source: string, path: string, kind: Bun.ImportKind): Complaint {
  const name = cutText(path, SHOWN_NAME_LENGTH);
  const message =
    kind === 'import-statement'
      ? `cannot import "${name}": the only module is "${BUILTIN_MODULE}"`
      : `cannot load "${name}": import "${BUILTIN_MODULE}" at the top of the script instead`;
  return { ...placeOfModule(source, path, kind), kind: 'load', message };
}

/** Where a module is named: in quotes, or else where one is loaded by a name that is computed. */
function placeOfModule(source: string, path: string, kind: Bun.ImportKind): Place {
  const at = ["'", '"', '`']
    .map((quote) => source.indexOf(quote + path + quote))
    .find((i) => i >= 0);
  const call = kind.startsWith('require') ? /\brequire\b/ : /\bimport\b\s*\(/;
  const index = at ?? source.search(call);
  return index < 0 ? { line: 0, column: 0 } : placeAt(source, index);
}

function placeAt(source: string, index: number): Place {
  const before = source.slice(0, index).split('\n');
  return { line: before.length, column: (before.at(-1)?.length ?? 0) + 1 };
}
