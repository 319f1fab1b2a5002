/**
 * Which file of a script an import means. Whoever collects the files from disk and whoever bundles
 * them ask here, so that they cannot differ. Paths are from the folder of the script, with `/`.
 */
import { posix } from 'node:path';

/** What an import without an ending can mean, in this order. */
const TRIED = ['.ts', '.js', '/index.ts', '/index.js'] as const;

/** Whether a file of this name can be part of a script. */
export const isModulePath = (path: string): boolean =>
  /\.(ts|js|json)$/.test(path) && !/\.d\.ts$/.test(path);

/** `./lib.ts`, `../names.json`: not a package, not a URL, not a path of the machine. */
export const isRelative = (specifier: string): boolean => /^\.\.?\//.test(specifier);

/**
 * The file that `specifier` means where `importer` says it; undefined when there is none.
 * `./a.js` may be `a.ts`, because that is how TypeScript has it written.
 */
export function resolveModule(
  importer: string,
  specifier: string,
  has: (path: string) => boolean,
): string | undefined {
  if (!isRelative(specifier)) return undefined;
  const path = posix.join(posix.dirname(importer), specifier);
  const candidates = isModulePath(path)
    ? [path, path.replace(/\.js$/, '.ts')]
    : TRIED.map((ending) => path + ending);
  return candidates.find(has);
}

/**
 * White space and comments of some length, so that each text can be read in one way only: a line of
 * fifty slashes behind the word "import" would else be tried in all ways to cut it.
 */
const GAP = String.raw`(?:\s|/\*(?:[^*]|\*(?!/)){0,500}\*/|//[^\n\r]{0,500}[\n\r])*`;
/** `from './a'`, `import './a'`. */
const RELATIVE_IMPORT = new RegExp(
  String.raw`\b(?:from|import)${GAP}(['"])(?<specifier>\.\.?/[^'"\n\r\\]+)\1`,
  'g',
);

/**
 * What a text imports by a relative path. A look at the letters only: nothing is parsed, as a
 * parser of others may run what it reads. What a comment imports is found too, and does no harm.
 */
export const relativeImports = (text: string): string[] =>
  Array.from(text.matchAll(RELATIVE_IMPORT), ({ groups }) => groups?.['specifier'] ?? '');
