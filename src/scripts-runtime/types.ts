/** What `culvert types` prints: the declarations that scripts are written against. */
// @ts-expect-error a declaration file cannot be imported, except as the text it is
import module from './culvert.d.ts' with { type: 'text' };
// @ts-expect-error the same
import testText from './culvert-test.d.ts' with { type: 'text' };
import globals from './globals-text.js';

export const SCRIPT_TYPES = `${module}\n${globals}`;

/** The declarations of `culvert:test`. */
export const TEST_TYPES = String(testText);
