/** Walks a JSON Schema as far as configs need it: properties, lists, records, alternatives. */

/** The part of a JSON Schema that is looked at. */
export interface SchemaNode {
  description?: string;
  readonly type?: string;
  readonly enum?: readonly unknown[];
  readonly default?: unknown;
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly items?: SchemaNode;
  readonly additionalProperties?: SchemaNode | boolean;
  readonly anyOf?: readonly SchemaNode[];
}

/**
 * Calls `visit` for every property. A path is `device.mtu`; behind a list stands `[]`, and `*` for
 * a name that the operator chooses: `listeners[].name`, `scripts.sets.*.file`.
 */
export function walkSchema(
  node: SchemaNode,
  visit: (path: string, property: SchemaNode) => void,
  path = '',
): void {
  for (const [key, property] of Object.entries(node.properties ?? {})) {
    const below = path === '' ? key : `${path}.${key}`;
    visit(below, property);
    walkSchema(property, visit, below);
  }
  if (node.items !== undefined) walkSchema(node.items, visit, `${path}[]`);
  if (typeof node.additionalProperties === 'object') {
    walkSchema(node.additionalProperties, visit, `${path}.*`);
  }
  for (const branch of node.anyOf ?? []) walkSchema(branch, visit, path);
}

/** Every node that a path of a config may mean: more than one behind alternatives. */
export function nodesAt(root: SchemaNode, path: readonly PropertyKey[]): SchemaNode[] {
  return path.reduce<SchemaNode[]>(
    (nodes, key) => nodes.flatMap((node) => alternatives(node).flatMap((one) => step(one, key))),
    [root],
  );
}

/** The keys that a mapping at this path may have. */
export const keysAt = (root: SchemaNode, path: readonly PropertyKey[]): string[] => [
  ...new Set(
    nodesAt(root, path).flatMap((node) =>
      alternatives(node).flatMap((one) => Object.keys(one.properties ?? {})),
    ),
  ),
];

const alternatives = (node: SchemaNode): SchemaNode[] => [
  node,
  ...(node.anyOf ?? []).flatMap(alternatives),
];

function step(node: SchemaNode, key: PropertyKey): SchemaNode[] {
  if (typeof key === 'number') return node.items === undefined ? [] : [node.items];
  const property = node.properties?.[String(key)];
  if (property !== undefined) return [property];
  return typeof node.additionalProperties === 'object' ? [node.additionalProperties] : [];
}
