/**
 * YAML as it is read here: with the places of faults as offsets, and each key of a mapping once.
 * The parser compares each key with all before it, which for a mapping of a few megabytes takes
 * minutes; so it is told not to, and the keys are looked at here.
 */
import {
  type Document,
  type DocumentOptions,
  isMap,
  isPair,
  isScalar,
  isSeq,
  type ParseOptions,
  parseDocument,
  type SchemaOptions,
  YAMLParseError,
} from 'yaml';

/** Nobody reads more of them, and each is an object. */
const REPORTED_MAX = 100;

/** `errors` of the document has also keys that stand there twice. */
export function parseYaml(
  text: string,
  options: ParseOptions & DocumentOptions & SchemaOptions = {},
): Document {
  const document: Document = parseDocument(text, {
    ...options,
    prettyErrors: false,
    uniqueKeys: false,
  });
  document.errors = document.errors.concat(repeatedKeys(document.contents));
  return document;
}

/** In the order of the text. Not by recursion: a document is nested as deeply as it likes. */
function repeatedKeys(root: unknown): YAMLParseError[] {
  const offsets: number[] = [];
  const waiting: unknown[] = [root];
  while (waiting.length > 0) {
    const node = waiting.pop();
    if (isPair(node)) waiting.push(node.key, node.value);
    else if (isSeq(node)) for (const item of node.items) waiting.push(item);
    if (!isMap(node)) continue;
    const keys = new Set<unknown>();
    for (const pair of node.items) {
      waiting.push(pair);
      if (!isScalar(pair.key)) continue;
      if (keys.has(pair.key.value)) offsets.push(pair.key.range?.[0] ?? 0);
      keys.add(pair.key.value);
    }
  }
  return offsets
    .sort((a, b) => a - b)
    .slice(0, REPORTED_MAX)
    .map((at) => new YAMLParseError([at, at + 1], 'DUPLICATE_KEY', 'Map keys must be unique'));
}
