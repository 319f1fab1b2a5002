/** The default script, carried inside the binary as text. */
import source from '../../../scripts/default.ts' with { type: 'text' };

export const DEFAULT_SCRIPT = String(source);
