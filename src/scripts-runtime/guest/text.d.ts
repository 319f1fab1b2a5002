/** Modules of the sandbox are imported as text: nothing out here runs them. */
declare module '*.js' {
  const source: string;
  // biome-ignore lint/style/noDefaultExport: a text import has nothing else
  export default source;
}

declare module 'web-streams-polyfill/dist/ponyfill.mjs' {
  const source: string;
  // biome-ignore lint/style/noDefaultExport: a text import has nothing else
  export default source;
}
