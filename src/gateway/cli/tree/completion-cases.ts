/** What all shells complete alike: where a line stands in the tree, and what may follow there. */
import { type CommandInfo, flatten, type OptionInfo, type ValueInfo } from './command-tree.ts';

/** `/script/check`; empty for culvert itself. */
export const placeOf = ({ path }: CommandInfo): string => path.map((name) => `/${name}`).join('');

/** From a place and the next word to the next place: `/script/check` from `/script` and `check`. */
export const steps = (tree: CommandInfo): { from: string; word: string; to: string }[] =>
  flatten(tree).flatMap((parent) =>
    parent.commands.flatMap((child) =>
      [child.path.at(-1) ?? '', ...child.aliases].map((word) => ({
        from: placeOf(parent),
        word,
        to: placeOf(child),
      })),
    ),
  );

/** Options that take a value, with each of their names. */
export const valued = (command: CommandInfo): { name: string; value: ValueInfo }[] =>
  command.options.flatMap(({ names, value }) =>
    value === undefined ? [] : names.map((name) => ({ name, value })),
  );

export const optionNames = (command: CommandInfo): string[] =>
  command.options.flatMap(({ names }: OptionInfo) => names);

/** How the words that are no options are completed: the first argument says it for all. */
export const wordsOf = (command: CommandInfo): ValueInfo | undefined =>
  command.args.find(({ kind }) => kind !== 'text');

/** As one word of any of these shells, quotes included. */
export const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;
