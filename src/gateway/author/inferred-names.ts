/**
 * Functions and classes without a name take that of their place: `f = () => 1`. Behind a counter,
 * as `f = (counter, () => 1)`, they would have none, and code that reads `name` would go another
 * way than it does without counters.
 */
import type { types, Visitor } from '@babel/core';

/** To be applied to what istanbul has put its counters into. */
export function keepInferredNames(babelTypes: typeof types): Visitor {
  return {
    SequenceExpression: (path) => {
      const { node, parentPath: place } = path;
      const [counter, value] = node.expressions;
      // What an author wrote like this has a position, and no name.
      if (node.loc != null || counter === undefined || value === undefined) return;
      if (!isAnonymous(babelTypes, value)) return;
      if (place.isClassProperty() || place.isClassPrivateProperty()) {
        // The name may be computed, so the value stays, and the counter gets a field before.
        const id = babelTypes.identifier(path.scope.generateUid('culvert counter'));
        const isStatic = place.node.static === true;
        const field = babelTypes.privateName(id);
        place.insertBefore(babelTypes.classPrivateProperty(field, counter, [], isStatic));
        path.replaceWith(value);
        return;
      }
      const name = nameOf(place.node);
      if (name !== undefined) node.expressions[1] = named(babelTypes, name, value);
    },
  };
}

/** Types around it are gone when it runs. */
function isAnonymous(babelTypes: typeof types, value: types.Expression): boolean {
  if (babelTypes.isTypeScript(value) && 'expression' in value) {
    return babelTypes.isExpression(value.expression) && isAnonymous(babelTypes, value.expression);
  }
  if (babelTypes.isParenthesizedExpression(value)) return isAnonymous(babelTypes, value.expression);
  if (babelTypes.isArrowFunctionExpression(value)) return true;
  const canHaveName = babelTypes.isFunctionExpression(value) || babelTypes.isClassExpression(value);
  return canHaveName && value.id == null;
}

/** Of the variable that such a value is the first or the default one of. */
function nameOf(place: types.Node): string | undefined {
  const isPattern = place.type === 'AssignmentPattern';
  if (!isPattern && place.type !== 'VariableDeclarator') return undefined;
  const variable = isPattern ? place.left : place.id;
  return variable.type === 'Identifier' ? variable.name : undefined;
}

/** `{ ['f']: value }['f']`; the key is computed, for that of `__proto__` would mean something. */
function named(babelTypes: typeof types, name: string, value: types.Expression): types.Expression {
  const key = () => babelTypes.stringLiteral(name);
  const holder = babelTypes.objectExpression([babelTypes.objectProperty(key(), value, true)]);
  return babelTypes.memberExpression(holder, key(), true);
}
