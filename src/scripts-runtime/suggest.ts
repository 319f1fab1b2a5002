/** What somebody may have meant who mistyped a word. */

/** More than a third of a word that is wrong is another word. */
const DISTANCE_SHARE = 1 / 3;

/** The nearest of `known`, the case of letters and `_-` left out; undefined when none is near. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  const plain = normalize(word);
  const [best] = known
    .map((candidate) => ({ candidate, distance: editDistance(plain, normalize(candidate)) }))
    .filter(({ distance }) => distance <= Math.max(1, Math.floor(plain.length * DISTANCE_SHARE)))
    .sort((a, b) => a.distance - b.distance);
  return best?.candidate;
}

const normalize = (word: string): string => word.toLowerCase().replace(/[_-]/g, '');

/** Letters to insert, to take out, to exchange, or to swap with their neighbour. */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const next = [row];
    for (let column = 1; column <= b.length; column++) {
      const isSame = a[row - 1] === b[column - 1];
      const isSwap = a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1];
      next[column] = Math.min(
        (last[column] ?? 0) + 1,
        (next[column - 1] ?? 0) + 1,
        (last[column - 1] ?? 0) + (isSame ? 0 : 1),
        isSwap ? (beforeLast[column - 2] ?? 0) + 1 : Number.POSITIVE_INFINITY,
      );
    }
    beforeLast = last;
    last = next;
  }
  return last[b.length] ?? 0;
}
