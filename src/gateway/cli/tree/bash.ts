import { type CommandInfo, flatten, type ValueInfo } from './command-tree.ts';
import { optionNames, placeOf, quoted, steps, valued, wordsOf } from './completion-cases.ts';

/** Completion for bash 4 and newer. */
export function bashCompletion(tree: CommandInfo): string {
  const commands = flatten(tree);
  const walk = steps(tree).map(
    ({ from, word, to }) => `${quoted(`${from} ${word}`)}) place=${to} ;;`,
  );
  const values = commands.flatMap((command) =>
    valued(command).map(({ name, value }) => {
      return `${quoted(`${placeOf(command)} ${name}`)}) ${complete(value)} return ;;`;
    }),
  );
  const options = commands.map(
    (command) => `${quoted(placeOf(command))}) words=${quoted(optionNames(command).join(' '))} ;;`,
  );
  const words = commands.map((command) => {
    const below = command.commands.map(({ path }) => path.at(-1)).join(' ');
    const value = wordsOf(command);
    const action = value === undefined ? `words=${quoted(below)}` : `${complete(value)} return`;
    return `${quoted(placeOf(command))}) ${action} ;;`;
  });
  return `# bash completion of culvert; load it with: source <(culvert completion bash)
_culvert_paths() {
  compopt -o filenames 2>/dev/null
  mapfile -t COMPREPLY < <(compgen "$1" -- "$cur")
}

_culvert() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]} place= words= i
  COMPREPLY=()
  # "--name=value" comes as three words.
  if [[ $cur == = ]]; then
    cur=
  elif [[ $prev == = ]]; then
    prev=\${COMP_WORDS[COMP_CWORD - 2]}
  fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$place \${COMP_WORDS[i]}" in
${indent(walk, 6)}
    esac
  done
  case "$place $prev" in
${indent(values, 4)}
  esac
  if [[ $cur == -* ]]; then
    case "$place" in
${indent(options, 6)}
    esac
  else
    case "$place" in
${indent(words, 6)}
    esac
  fi
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

complete -F _culvert culvert
`;
}

function complete({ kind, choices }: ValueInfo): string {
  switch (kind) {
    case 'file':
      return '_culvert_paths -f;';
    case 'folder':
      return '_culvert_paths -d;';
    case 'choice':
      return `mapfile -t COMPREPLY < <(compgen -W ${quoted(choices.join(' '))} -- "$cur");`;
    case 'text':
      return '';
  }
}

const indent = (lines: readonly string[], columns: number): string =>
  lines.map((line) => ' '.repeat(columns) + line).join('\n');
