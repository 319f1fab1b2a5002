/** What this binary is. The build injects both names: `--define CULVERT_COMMIT='"abc123"'`. */
declare const CULVERT_VERSION: string | undefined;
declare const CULVERT_COMMIT: string | undefined;

export const buildInfo = {
  version: typeof CULVERT_VERSION === 'string' ? CULVERT_VERSION : '0.1.0-dev',
  commit: typeof CULVERT_COMMIT === 'string' ? CULVERT_COMMIT : 'source',
  bun: Bun.version,
};

/** The binary is compiled: `/proc/self/exe` is culvert, not Bun. */
export const IS_COMPILED = Bun.main.startsWith('/$bunfs/');
