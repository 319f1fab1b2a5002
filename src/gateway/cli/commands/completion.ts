/** Commands that print what shells and readers want to know about the command line itself. */
import { Argument, type Command } from 'commander';
import { buildInfo } from '../../supervisor/build-info.ts';
import { print } from '../output.ts';
import { bashCompletion } from '../tree/bash.ts';
import { commandTree } from '../tree/command-tree.ts';
import { fishCompletion } from '../tree/fish.ts';
import { manPage } from '../tree/manpage.ts';
import { zshCompletion } from '../tree/zsh.ts';

const SHELLS = { bash: bashCompletion, zsh: zshCompletion, fish: fishCompletion };

export function addCompletion(program: Command): void {
  program
    .command('completion')
    .description('print a completion script: source <(culvert completion bash)')
    .addArgument(new Argument('<shell>', 'the shell it is for').choices(Object.keys(SHELLS)))
    .action((shell: keyof typeof SHELLS) => print(SHELLS[shell](commandTree(program)).trimEnd()));
}

export function addManpage(program: Command): void {
  program
    .command('manpage')
    .description('print culvert(1): culvert manpage > /usr/local/share/man/man1/culvert.1')
    .action(() => print(manPage(commandTree(program), buildInfo.version).trimEnd()));
}
