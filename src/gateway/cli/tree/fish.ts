import { type CommandInfo, flatten, type ValueInfo } from './command-tree.ts';
import { placeOf, quoted, steps, wordsOf } from './completion-cases.ts';

/** Completion for fish. */
export function fishCompletion(tree: CommandInfo): string {
  const walk = steps(tree).map(({ from, word, to }) => {
    return `            case ${fishQuoted(`${from} ${word}`)}\n                set place ${to}`;
  });
  const lines = flatten(tree).flatMap((command) => {
    const at = `complete -c culvert -n "__culvert_at '${placeOf(command)}'"`;
    const words = wordsOf(command);
    return [
      ...command.commands.map(
        ({ path, about }) => `${at} -a ${path.at(-1)} -d ${fishQuoted(about)}`,
      ),
      ...(words === undefined ? [] : [`${at} ${complete(words)}`]),
      ...command.options.map(({ names, about, value }) => {
        const flags = names.map((name) =>
          name.startsWith('--') ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`,
        );
        const argument = value === undefined ? '' : ` -r ${complete(value)}`;
        return `${at} ${flags.join(' ')}${argument} -d ${fishQuoted(about)}`;
      }),
    ];
  });
  return `# fish completion of culvert; load it with: culvert completion fish | source
function __culvert_at
    set -l place ''
    for word in (commandline -opc)[2..]
        switch "$place $word"
${walk.join('\n')}
        end
    end
    test "$place" = "$argv[1]"
end

complete -c culvert -f
${lines.join('\n')}
`;
}

function complete({ kind, choices }: ValueInfo): string {
  switch (kind) {
    case 'file':
      return '-F';
    case 'folder':
      return "-f -a '(__fish_complete_directories)'";
    case 'choice':
      return `-f -a ${quoted(choices.join(' '))}`;
    case 'text':
      return '-f';
  }
}

/** Inside of single quotes fish knows a backslash. */
const fishQuoted = (text: string): string =>
  `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
