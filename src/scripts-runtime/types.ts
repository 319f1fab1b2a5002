/** What `culvert types` prints: the declarations that scripts are written against. */
// @ts-expect-error a declaration file cannot be imported, except as the text it is
import module from './culvert.d.ts' with { type: 'text' };
import globals from './globals-text.js';

export const SCRIPT_TYPES = `${module}\n${globals}`;
