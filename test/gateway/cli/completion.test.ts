import { beforeAll, describe, expect, test } from 'bun:test';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { createProgram } from '../../../src/gateway/cli/program.ts';
import { bashCompletion } from '../../../src/gateway/cli/tree/bash.ts';
import { commandTree, flatten } from '../../../src/gateway/cli/tree/command-tree.ts';
import { fishCompletion } from '../../../src/gateway/cli/tree/fish.ts';
import { manPage } from '../../../src/gateway/cli/tree/manpage.ts';
import { zshCompletion } from '../../../src/gateway/cli/tree/zsh.ts';
import { scratchFolder } from '../../support/scratch.ts';

const tree = commandTree(createProgram(() => {}));
const folder = scratchFolder('completion');

beforeAll(() => {
  writeFileSync(join(folder, 'culvert.bash'), bashCompletion(tree));
  writeFileSync(join(folder, 'a file.yaml'), '');
  mkdirSync(join(folder, 'a folder'));
});

/** What bash offers for a line whose last word is being typed. */
function completions(...words: readonly string[]): string[] {
  const script = `
    source culvert.bash
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
    $(complete -p culvert | sed -n 's/.*-F \\([^ ]*\\).*/\\1/p')
    printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout, stderr } = Bun.spawnSync(['bash', '-c', script, 'bash', 'culvert', ...words], {
    cwd: folder,
  });
  expect(stderr.toString()).toBe('');
  return stdout.toString().split('\n').filter(Boolean);
}

/**
 * What zsh offers for each line that is typed and followed by a tab, in a terminal of its own. The
 * function `compadd` notes what it is given, as far as it begins like the word.
 */
function zshCompletions(lines: readonly string[]): ReadonlyMap<string, readonly string[]> {
  writeFileSync(
    join(folder, '.zshrc'),
    `PS1=; unsetopt beep; setopt no_list_beep
    fpath=($PWD $fpath); autoload -Uz compinit; compinit -D -u
    compadd() {
      local -a words
      if [[ \${argv[(I)-[OAD]]} -eq 0 ]]; then
        builtin compadd -O words "$@"
        print -rl -- "\${(Q@)words}" >> offered
      fi
      builtin compadd "$@"
    }
    comppostfuncs=(_end)
    _end() { print END >> offered; comppostfuncs=(_end) }
    print READY > ready`,
  );
  const driver = `zmodload zsh/zpty
    wait_for() {
      local -i i; local text
      for ((i = 0; i < 500; i++)); do
        while zpty -rt shell text; do :; done
        [[ -s $1 && "$(tail -n 1 $1)" == $2 ]] && return
        sleep 0.02
      done
    }
    zpty -b shell zsh -i
    wait_for ready READY
    for line; do
      : > offered
      zpty -wn shell "$line"$'\\t'
      wait_for offered END
      print -r -- "LINE $line"
      sed -e /^END/d -e /^$/d offered | sort -u
      zpty -wn shell $'\\x15'
    done
    zpty -d shell`;
  const env = { ...process.env, ZDOTDIR: folder, TERM: 'dumb' };
  const { stdout } = Bun.spawnSync(['zsh', '-f', '-c', driver, 'zsh', ...lines], {
    cwd: folder,
    env,
  });
  const sections = stdout
    .toString()
    .split(/^LINE /m)
    .slice(1);
  return new Map(
    sections.map((section) => {
      const [line = '', ...words] = section.split('\n');
      return [line, words.filter(Boolean)];
    }),
  );
}

describe.skipIf(Bun.which('bash') === null)('bash', () => {
  test.each([
    [['ru'], ['run']],
    [
      ['route', ''],
      ['plan', 'apply', 'undo'],
    ],
    [['val'], []],
    [['run', '--log-l'], ['--log-level']],
    [['run', '--log-level', 'de'], ['debug']],
    [['run', '--log-level', '=', 'w'], ['warn']],
    [['run', '-c', 'a fi'], ['a file.yaml']],
    [['run', '-C', ''], ['a folder']],
    [['script', 'check', 'a fi'], ['a file.yaml']],
    [
      ['completion', ''],
      ['bash', 'zsh', 'fish'],
    ],
    // Behind an option that takes a value, a word is that value.
    [['run', '-c', 'x', '--device', ''], []],
  ])('completes %p with %p', (words, offered) => expect(completions(...words)).toEqual(offered));

  test('an alias leads to the options of its command', () =>
    expect(completions('validate', '--js')).toEqual(['--json']));
});

describe.skipIf(Bun.which('zsh') === null)('zsh', () => {
  const LINES = {
    'culvert ro': ['route'],
    'culvert route ': ['apply', 'plan', 'undo'],
    'culvert -h route u': ['undo'],
    'culvert run --log-l': ['--log-level'],
    'culvert run --log-level de': ['debug'],
    'culvert run --log-level=w': ['warn'],
    'culvert run -c a': ['a file.yaml', 'a folder'],
    'culvert run --config=a': ['a file.yaml', 'a folder'],
    'culvert run -C ': ['a folder'],
    'culvert script check a\\ fi': ['a file.yaml'],
    'culvert validate --js': ['--json'],
    'culvert run --device ': [],
    'culvert completion ': ['bash', 'fish', 'zsh'],
  };
  let offered: ReadonlyMap<string, readonly string[]>;
  beforeAll(() => {
    writeFileSync(join(folder, '_culvert'), zshCompletion(tree));
    offered = zshCompletions(Object.keys(LINES));
  });

  test.each(Object.entries(LINES))('completes "%s" with %p', (line, words) =>
    expect(offered.get(line)).toEqual(words),
  );
});

describe.skipIf(Bun.which('fish') === null)('fish', () => {
  beforeAll(() => writeFileSync(join(folder, 'culvert.fish'), fishCompletion(tree)));

  const complete = (line: string) => {
    const script = `source culvert.fish; complete -C ${JSON.stringify(line)}`;
    const { stdout, stderr } = Bun.spawnSync(['fish', '--no-config', '-c', script], {
      cwd: folder,
    });
    expect(stderr.toString()).toBe('');
    const rows = stdout.toString().split('\n').filter(Boolean);
    return rows.map((row) => row.split('\t')[0]).sort();
  };

  test.each([
    ['culvert ro', ['route']],
    ['culvert route ', ['apply', 'plan', 'undo']],
    ['/usr/bin/culvert -h route u', ['undo']],
    ['culvert run --log-l', ['--log-level']],
    ['culvert run --log-format ', ['json', 'logfmt', 'text']],
    ['culvert run --log-level=w', ['--log-level=warn']],
    ['culvert run -c a', ['a file.yaml', 'a folder/']],
    ['culvert run -C ', ['a folder/']],
    ['culvert validate --js', ['--json']],
    ['culvert run --device ', []],
    ['culvert completion ', ['bash', 'fish', 'zsh']],
  ])('completes "%s" with %p', (line, words) => expect(complete(line)).toEqual(words));
});

test('every command and every option stands in each script and in the man page', () => {
  const texts = [bashCompletion(tree), zshCompletion(tree), fishCompletion(tree)];
  const page = manPage(tree, '1.2.3').replaceAll('\\-', '-');
  for (const { path, options } of flatten(tree).slice(1)) {
    for (const text of texts) expect(text).toContain(`'/${path.join('/')}'`);
    expect(page).toContain(`.SS "culvert ${path.join(' ')} `);
    for (const { flags } of options)
      expect(page).toContain(`.B "${flags.replace('…', '[u2026]')}"`);
  }
});

describe('help', () => {
  test('every command, option and argument says what it is for', () => {
    const bare = flatten(tree).flatMap(({ path, about, options }) => [
      ...(about === '' ? [path.join(' ')] : []),
      ...options.filter((option) => option.about === '').map(({ flags }) => flags),
    ]);
    expect(bare).toEqual([]);
  });

  test('every flag of run has a variable of its name', () => {
    const run = tree.commands.find(({ path }) => path[0] === 'run');
    const without = run?.options.filter(
      ({ names, variables }) =>
        !variables.includes(`CULVERT_${names.at(-1)?.slice(2).toUpperCase().replaceAll('-', '_')}`),
    );
    expect(without?.map(({ flags }) => flags)).toEqual(['-t, --test', '-h, --help']);
  });
});

describe.skipIf(Bun.which('groff') === null)('the man page', () => {
  const page = manPage(tree, '1.2.3');
  const format = (text: string, ...args: readonly string[]) => {
    const { stdout, stderr } = Bun.spawnSync(['groff', '-man', '-Tutf8', ...args], {
      stdin: new TextEncoder().encode(text),
      env: { ...process.env, GROFF_NO_SGR: '1' },
    });
    return { out: stdout.toString().replace(/.[\b]/g, ''), err: stderr.toString() };
  };

  test('is formatted without a warning', () => {
    expect(format(page, '-ww', '-z')).toEqual({ out: '', err: '' });
    expect(format('.TP\n.NOSUCH x', '-ww', '-z').err).toContain('NOSUCH');
  });

  test('has flags that can be copied, values, variables and keys of the config', () => {
    const { out } = format(page);
    expect(out).toContain('--log-level <level>');
    expect(out).toContain('One of: debug, info, warn, error, silent.');
    expect(out).toContain('CULVERT_LOG_LEVEL, LOGLEVEL');
    expect(out).toContain('device.name *');
    expect(out).toContain('culvert 1.2.3');
  });

  test('does not take text for a request, or a backslash for an escape', () => {
    const program = new Command('culvert');
    program.command('odd').description("'.x' and a\\b").option('--o <x>', '.TH "q"');
    const { out, err } = format(manPage(commandTree(program), '1'), '-ww');
    expect(err).toBe('');
    expect(out).toContain("'.x' and a\\b.");
    expect(out).toContain('.TH "q".');
  });
});
