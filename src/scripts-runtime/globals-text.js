/**
 * The text of the declarations of globals. TypeScript does not read this file, so it does not take
 * them for globals of the gateway.
 */
import text from './culvert-globals.d.ts' with { type: 'text' };

// biome-ignore lint/style/noDefaultExport: declared as all texts are, in guest/text.d.ts
export default text;
