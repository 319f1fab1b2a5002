/** Which files on disk a config is made from: what `scripts.reload.watch` looks after. */
import { basename, dirname, resolve } from 'node:path';
import { CONFIG_NAMES } from './documents.ts';
import type { ConfigFiles, LoadedConfig } from './load.ts';
import { scriptPlaces } from './scripts.ts';

/** Files of one folder. */
export interface WatchedFiles {
  readonly folder: string;
  /** Of their names; absent: all, but what editors leave. */
  readonly names?: RegExp;
  /** `config`: the config itself; `content`: what it names. */
  readonly kind: 'config' | 'content';
}

/** @param files  that the config was read from; absent for the embedded default */
export function watchedFiles(loaded: LoadedConfig, files: ConfigFiles | undefined): WatchedFiles[] {
  const { file, folder } = files ?? {};
  return [
    ...(file === undefined ? [] : [oneFile(resolve(file), 'config')]),
    ...(folder === undefined
      ? []
      : [{ folder: resolve(folder), names: CONFIG_NAMES, kind: 'config' } as const]),
    ...scriptPlaces(loaded).map((path) => ({ folder: dirname(path), kind: 'content' }) as const),
    ...namedFiles(loaded).map((path) => oneFile(resolve(loaded.folder, path), 'content')),
  ];
}

/** Sets, authorities and tokens: what is read anew by each reload. */
function namedFiles({ config: { scripts, admin } }: LoadedConfig): string[] {
  return [
    ...Object.values(scripts.sets).map(({ file }) => file),
    scripts.tls.ca,
    admin.tokenFile,
    ...admin.tokens.map(({ tokenFile }) => tokenFile),
  ].filter((path) => path !== undefined);
}

const oneFile = (path: string, kind: WatchedFiles['kind']): WatchedFiles => ({
  folder: dirname(path),
  names: new RegExp(`^${RegExp.escape(basename(path))}$`),
  kind,
});
