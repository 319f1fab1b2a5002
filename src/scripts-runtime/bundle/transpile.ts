/**
 * From the texts of a script to what QuickJS runs. Bun's bundler does it, because unlike its
 * transpiler it gives a source map, and it makes one module of several.
 *
 * The texts are of a stranger, and a bundler does more than to translate: it resolves what a text
 * names from disk or from `data:` URLs, folds `'a' + 'b'` into such names, and runs macros, which
 * are code outside of every sandbox. So the bundler asks us for every module: it gets the files of
 * the script and `culvert`, and nothing else exists for it. Macros do not ask, and are turned off.
 */
import { posix } from 'node:path';
import { cutText } from '../cut-text.ts';
import type { SourcePosition } from '../errors.ts';
import type { OriginalText, ScriptIssue, ScriptSource, TextFiles } from './bundle.ts';
import { isRelative, resolveModule } from './module-paths.ts';
import { type Place, SourceMap, type SourceText } from './source-map.ts';

/** The only module a script can import that is not its own. */
export const BUILTIN_MODULE = 'culvert';

export interface Transpiled {
  readonly code: string;
  readonly map: SourceMap;
  /** The first one is where it starts. */
  readonly sources: readonly SourceText[];
}

/** What is to become one module. */
interface ModuleSet {
  /** Path of the file that starts. */
  readonly entry: string;
  /** By path, the entry included. */
  readonly files: TextFiles;
  readonly originals: Readonly<Record<string, OriginalText>>;
  readonly externals: Externals;
  /** What paths are relative to, as errors should show it: `scripts`. */
  readonly folder: string;
}

/** What is wrong with a text, and where. */
interface Complaint extends SourcePosition {
  readonly kind: string;
  readonly message: string;
}

/** As many as somebody reads; a bundler can find one on each line. */
const COMPLAINTS_MAX = 20;

/** UTF-16 units of the name of a module in a message: a `data:` URL holds whole files. */
const SHOWN_NAME_LENGTH = 100;

/** The module that the engine serves for what a text names; undefined where there is none. */
export type Externals = (name: string) => string | undefined;

const scriptExternals: Externals = (name) => (name === BUILTIN_MODULE ? name : undefined);

/** @returns the code, or what is wrong with the source */
export async function transpile(
  script: ScriptSource,
  externals = scriptExternals,
): Promise<Transpiled | readonly ScriptIssue[]> {
  const result = await bundleModules(modulesOf(script, externals));
  return 'code' in result
    ? result
    : result.map((complaint) => ({ script: script.name, ...complaint }));
}

/** All modules of a script, by their path from its folder. */
function modulesOf(script: ScriptSource, externals: Externals): ModuleSet {
  const { file, source, modules, originals = {} } = script;
  const entry = posix.basename(file);
  const files = { ...modules, [entry]: source };
  return { entry, files, originals, externals, folder: posix.dirname(file) };
}

/** @returns the code, or what is wrong with the texts */
async function bundleModules(modules: ModuleSet): Promise<Transpiled | readonly Complaint[]> {
  const world = new World(modules);
  const attributes = world.sources.flatMap((source) => findAttributes(source) ?? []);
  const result = attributes.length > 0 ? attributes : await bundle(world);
  return 'code' in result ? result : result.slice(0, COMPLAINTS_MAX);
}

/** White space and comments, so that each text can be read in one way only. */
const GAP = String.raw`(?:\s|/\*(?:[^*]|\*(?!/))*\*/|//[^\n\r\u2028\u2029]*[\n\r\u2028\u2029])*`;
/** `"module" with { … }`, but not what TypeScript wants for JSON: it says what happens anyway. */
const IMPORT_ATTRIBUTES = new RegExp(
  String.raw`(?<!\.json)['"]${GAP}(?:with|assert)${GAP}\{` +
    String.raw`|\.json['"]${GAP}(?:with|assert)${GAP}\{(?! ?type: ?(?:'json'|"json") ?\})`,
);

/**
 * Attributes have no meaning here, and the bundler would say so in its own words or not at all. It
 * is the bundler's settings that keep macros from running, not this look at the text.
 */
function findAttributes(source: SourceText): Complaint | undefined {
  if (source.file.endsWith('.json')) return undefined;
  const found = IMPORT_ATTRIBUTES.exec(source.text);
  if (found === null) return undefined;
  const message = 'an import cannot have attributes ("with { … }")';
  // A name that ends the match's first alternative starts it, too: the quote is where it is.
  const at = found.index + (found[0].startsWith('.json') ? '.json'.length : 0);
  return { ...placeAt(source, at), kind: 'load', message };
}

/**
 * Where the bundler believes the files to be. It refuses macros to what lies in a package, which
 * is the second lock beside `macros: false`.
 */
const FOLDER = '/node_modules/script';
const NAMESPACE = 'script';

/** `macros` is read by Bun 1.4 and missing in its types. */
const NO_MACROS: Pick<Bun.BuildConfig, 'env'> & { readonly macros: false } = {
  env: 'disable',
  macros: false,
};

/** The files as the bundler knows them: under names that lead to no file, wherever they lay. */
class World {
  readonly sources: readonly SourceText[];
  readonly #modules: ModuleSet;
  /** In the order of `sources`. */
  readonly #paths: readonly string[];
  readonly #names: readonly string[];

  constructor(modules: ModuleSet) {
    const { entry, files, folder, originals } = modules;
    this.#modules = modules;
    this.#paths = [entry, ...Object.keys(files).filter((path) => path !== entry)];
    this.sources = this.#paths.map((path) =>
      sourceTextOf(posix.join(folder, path), files[path] ?? '', originals[path]),
    );
    this.#names = this.#paths.map(
      (path, i) => `${FOLDER}/${i}/${posix.basename(path).replaceAll(/[^\w.-]/g, '_')}`,
    );
  }

  get entryName(): string {
    return this.#names[0] ?? '';
  }

  external(name: string): string | undefined {
    return this.#modules.externals(name);
  }

  source(name: string | undefined): SourceText | undefined {
    return this.sources[this.#names.indexOf(name ?? '')];
  }

  /** Name of what a file imports. */
  resolve(importer: string, specifier: string): string | undefined {
    const from = this.#paths[this.#names.indexOf(importer)];
    if (from === undefined) return undefined;
    const { files } = this.#modules;
    const path = resolveModule(from, specifier, (wanted) => Object.hasOwn(files, wanted));
    return path === undefined ? undefined : this.#names[this.#paths.indexOf(path)];
  }

  /** A message of the bundler in the names of the script. */
  translate(message: string): string {
    return this.#names.reduce(
      (text, name, i) => text.replaceAll(`${NAMESPACE}:${name}`, this.sources[i]?.file ?? ''),
      message,
    );
  }
}

function sourceTextOf(file: string, text: string, original?: OriginalText): SourceText {
  if (original === undefined) return { file, text };
  const sources = [{ file, text: original.text }];
  return { file, text, origin: new SourceMap(original.mappings, text, sources) };
}

async function bundle(world: World): Promise<Transpiled | Complaint[]> {
  const refused: Complaint[] = [];
  const result = await Bun.build({
    ...NO_MACROS,
    entrypoints: ['script'],
    plugins: [closedWorld(world, refused)],
    format: 'esm',
    target: 'browser',
    sourcemap: 'external',
    throw: false,
  });
  const [entry] = world.sources as readonly [SourceText];
  if (refused.length > 0) return refused.sort(byPlace);
  const complaints = result.logs
    .filter(({ level }) => level === 'error')
    .map(({ message, position }) => ({
      ...placeIn(world.source(position?.file) ?? entry, position ?? { line: 0, column: 0 }),
      kind: 'syntax',
      message: cutText(world.translate(message)),
    }));
  if (complaints.length > 0) return complaints;
  const output = result.outputs[0];
  if (!result.success || output?.sourcemap == null) {
    const place = { file: entry.file, line: 0, column: 0 };
    return [{ ...place, kind: 'syntax', message: 'cannot be transpiled' }];
  }
  const code = await output.text();
  const map = (await output.sourcemap.json()) as { mappings: string; sources: string[] };
  const mapped = map.sources.map(
    (name) => world.source(name.slice(NAMESPACE.length + 1)) ?? { file: entry.file, text: '' },
  );
  return { code, map: new SourceMap(map.mappings, code, mapped), sources: world.sources };
}

const byPlace = (a: Complaint, b: Complaint): number =>
  a.file === b.file ? a.line - b.line || a.column - b.column : a.file < b.file ? -1 : 1;

/** Answers every question of the bundler for a module, so that it never looks for one itself. */
const closedWorld = (world: World, refused: Complaint[]): Bun.BunPlugin => ({
  name: 'closed-world',
  setup(build) {
    build.onResolve({ filter: /.*/ }, ({ path, kind, importer }) => {
      if (kind === 'entry-point-build') return { path: world.entryName, namespace: NAMESPACE };
      if (kind === 'import-statement') {
        const served = world.external(path);
        if (served !== undefined) return { path: served, external: true };
        const own = world.resolve(importer, path);
        if (own !== undefined) return { path: own, namespace: NAMESPACE };
      }
      refused.push(refuse(world.source(importer) ?? { file: '', text: '' }, path, kind));
      // Whatever becomes of the complaint, the bundler must not go on by itself.
      throw new Error(`"${path}" is out of reach`);
    });
    build.onLoad({ filter: /.*/, namespace: NAMESPACE }, ({ path }) => {
      const source = world.source(path);
      if (source === undefined) throw new Error(`"${path}" is out of reach`);
      return { contents: source.text, loader: loaderOf(source.file) };
    });
    // Of the file system, which is what a filter without a namespace means.
    build.onLoad({ filter: /.*/ }, ({ path }) => {
      throw new Error(`"${path}" is out of reach`);
    });
  },
});

function loaderOf(file: string): 'js' | 'ts' | 'json' {
  if (file.endsWith('.json')) return 'json';
  return /\.[cm]?jsx?$/.test(file) ? 'js' : 'ts';
}

function refuse(source: SourceText, path: string, kind: Bun.ImportKind): Complaint {
  const name = cutText(path, SHOWN_NAME_LENGTH);
  return { ...placeOfModule(source, path, kind), kind: 'load', message: refusal(name, kind) };
}

function refusal(name: string, kind: Bun.ImportKind): string {
  if (kind !== 'import-statement') {
    return `cannot load "${name}": import "${BUILTIN_MODULE}" at the top of the script instead`;
  }
  if (!isRelative(name)) {
    return `cannot import "${name}": the only module is "${BUILTIN_MODULE}", besides own files`;
  }
  return (
    `cannot import "${name}": there is no such .ts, .js or .json file ` +
    'below the folder of the script, or below scripts.root'
  );
}

/** Where a module is named: in quotes, or else where one is loaded by a name that is computed. */
function placeOfModule(source: SourceText, path: string, kind: Bun.ImportKind): SourcePosition {
  const at = ["'", '"', '`']
    .map((quote) => source.text.indexOf(quote + path + quote))
    .find((i) => i >= 0);
  const call = kind.startsWith('require') ? /\brequire\b/ : /\bimport\b\s*\(/;
  const index = at ?? source.text.search(call);
  return index < 0 ? { file: source.file, line: 0, column: 0 } : placeAt(source, index);
}

/** @param index  in UTF-16 units */
export function placeAt(source: SourceText, index: number): SourcePosition {
  const before = source.text.slice(0, index).split('\n');
  return placeIn(source, { line: before.length, column: (before.at(-1)?.length ?? 0) + 1 });
}

/** The place as its author knows it. */
const placeIn = ({ file, origin }: SourceText, { line, column }: Place): SourcePosition =>
  origin?.original({ line, column }) ?? { file, line, column };
