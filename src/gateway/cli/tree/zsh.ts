import { type CommandInfo, flatten, type ValueInfo } from './command-tree.ts';
import { placeOf, quoted, steps, valued, wordsOf } from './completion-cases.ts';

/** Completion for zsh: a file `_culvert` in `$fpath`, or `source <(…)` after compinit. */
export function zshCompletion(tree: CommandInfo): string {
  const commands = flatten(tree);
  const walk = steps(tree).map(
    ({ from, word, to }) => `${quoted(`${from} ${word}`)}) place=${to} ;;`,
  );
  const values = commands.flatMap((command) =>
    valued(command).map(({ name, value }) => {
      return `${quoted(`${placeOf(command)} ${name}`)}) ${complete(value)}; return ;;`;
    }),
  );
  const options = commands.map((command) => {
    const entries = command.options.flatMap(({ names, about }) =>
      names.map((name) => entry(name, about)),
    );
    return `${quoted(placeOf(command))}) entries=(${entries.join(' ')}) ;;`;
  });
  const words = commands.map((command) => {
    const value = wordsOf(command);
    const entries = command.commands.map(({ path, about }) => entry(path.at(-1) ?? '', about));
    const action =
      value === undefined ? `entries=(${entries.join(' ')})` : `${complete(value)}; return`;
    return `${quoted(placeOf(command))}) ${action} ;;`;
  });
  return `#compdef culvert
# zsh completion of culvert: a file _culvert in $fpath, or source <(culvert completion zsh)
_culvert() {
  local place= word flag=\${words[CURRENT-1]}
  local -a entries
  for word in \${words[2,CURRENT-1]}; do
    case "$place $word" in
${indent(walk, 6)}
    esac
  done
  # "--name=value" is one word here.
  if [[ $PREFIX == --*=* ]]; then
    flag=\${PREFIX%%=*}
    compset -P '*='
  fi
  case "$place $flag" in
${indent(values, 4)}
  esac
  [[ -n $IPREFIX ]] && return
  if [[ $PREFIX == -* ]]; then
    case "$place" in
${indent(options, 6)}
    esac
    _describe -o option entries
  else
    case "$place" in
${indent(words, 6)}
    esac
    _describe command entries
  fi
}

if [[ $funcstack[1] == _culvert ]]; then _culvert "$@"; else compdef _culvert culvert; fi
`;
}

const entry = (name: string, about: string): string =>
  quoted(`${name}:${about.replaceAll(':', '\\:')}`);

function complete({ kind, choices, name }: ValueInfo): string {
  switch (kind) {
    case 'file':
      return '_files';
    case 'folder':
      return '_files -/';
    case 'choice':
      return `compadd -- ${choices.map(quoted).join(' ')}`;
    case 'text':
      return `_message ${quoted(name)}`;
  }
}

const indent = (lines: readonly string[], columns: number): string =>
  lines.map((line) => ' '.repeat(columns) + line).join('\n');
