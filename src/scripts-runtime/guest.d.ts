declare const source: string;
// biome-ignore lint/style/noDefaultExport: a text import has nothing else
export default source;
