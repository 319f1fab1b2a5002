/** The canonical form of a config file: keys in the order of the schema, comments kept. */
import { type Document, isMap, isScalar, isSeq, type Pair, visit, type YAMLMap } from 'yaml';
import { parseText } from './documents.ts';
import { ConfigError } from './load.ts';
import { configJsonSchema } from './schema.ts';
import { keysAt, type SchemaNode } from './schema-tree.ts';

const LINE_WIDTH = 100;

/**
 * Rewrites the text of a config. What it says stays as it is: the result is read again, and
 * compared.
 *
 * @param isJson  no comments, and braces; a JSON file stays one
 * @throws DocumentError, ConfigError  for what is no YAML, or would change its meaning
 */
export function formatConfig(text: string, file: string, isJson: boolean): string {
  const { document } = parseText(text, file);
  const before: unknown = document.toJS();
  // An alias stands behind its anchor, and would not after sorting.
  if (!hasAnchors(document)) {
    keepHeader(document);
    sortKeys(document.contents, configJsonSchema() as SchemaNode, []);
  }
  plainScalars(document);
  const formatted = isJson
    ? `${JSON.stringify(document.toJS(), undefined, 2)}\n`
    : document.toString({ indent: 2, lineWidth: LINE_WIDTH, singleQuote: true });
  if (Bun.deepEquals(parseText(formatted, file).document.toJS(), before)) return formatted;
  throw new ConfigError(file, [{ path: '', message: 'cannot be written in another form' }]);
}

/** What stands above the first key and a blank line is about the file, and stays at its head. */
function keepHeader(document: Document): void {
  const key = isMap(document.contents) ? document.contents.items[0]?.key : undefined;
  if (!isScalar(key)) return;
  const comment = key.commentBefore ?? '';
  const end = comment.lastIndexOf('\n\n');
  if (end < 0) return;
  document.commentBefore = [document.commentBefore, comment.slice(0, end)]
    .filter((part) => typeof part === 'string')
    .join('\n\n');
  key.commentBefore = comment.slice(end + 2);
}

function hasAnchors(document: Document): boolean {
  let found = false;
  visit(document, {
    Node: (_, node) => {
      if ('anchor' in node && node.anchor !== undefined) found = true;
    },
  });
  return found;
}

/** Keys of the schema first, in its order; what it does not know keeps its place behind them. */
function sortKeys(node: unknown, schema: SchemaNode, path: readonly PropertyKey[]): void {
  if (isSeq(node)) {
    node.items.forEach((item, index) => {
      sortKeys(item, schema, [...path, index]);
    });
  }
  if (!isMap(node)) return;
  const order = keysAt(schema, path);
  const [first] = node.items;
  const blank = leadingBlank(first);
  const rank = (pair: Pair) => {
    const known = order.indexOf(keyOf(pair));
    return known < 0 ? order.length : known;
  };
  if (order.length > 0) node.items.sort((a, b) => rank(a) - rank(b));
  moveComment(node, first, blank);
  for (const pair of node.items) sortKeys(pair.value, schema, [...path, keyOf(pair)]);
}

/** The first pair has no blank line in front of it; one that is first no more takes one. */
function moveComment(node: YAMLMap, wasFirst: Pair | undefined, blank: boolean): void {
  const isFirst = node.items[0] === wasFirst;
  if (isFirst || wasFirst === undefined || node.flow) return;
  const isSpaced = node.items.some((pair) => leadingBlank(pair));
  setLeadingBlank(wasFirst, blank || isSpaced);
  setLeadingBlank(node.items[0], false);
}

const leadingBlank = (pair: Pair | undefined): boolean =>
  isScalar(pair?.key) && pair.key.spaceBefore === true;

function setLeadingBlank(pair: Pair | undefined, value: boolean): void {
  if (isScalar(pair?.key)) pair.key.spaceBefore = value;
}

/** Quotes where they are needed, and only there; blocks of text stay blocks. */
function plainScalars(document: Document): void {
  visit(document, {
    Scalar: (_, node) => {
      if (node.type === 'QUOTE_DOUBLE' || node.type === 'QUOTE_SINGLE') delete node.type;
    },
  });
}

const keyOf = ({ key }: Pair): string => String(isScalar(key) ? key.value : key);
