/** `culvert script repl`: lines of JavaScript or TypeScript in the sandbox of scripts. */
import { createInterface } from 'node:readline';
import type { Command } from 'commander';
import { ReplSandbox } from '../../../scripts-runtime/offline/repl-sandbox.ts';
import { BundleLoadError } from '../../../scripts-runtime/offline/replay.ts';
import { bundleOf, readBundle } from '../../author/script-sources.ts';
import { ExitCode } from '../../supervisor/exit-code.ts';
import { CommandError } from '../command-error.ts';
import { print } from '../output.ts';

const PROMPT = 'culvert> ';

const HELP = `
flow({ src, dst, proto }) makes a flow, and await decide(flow) asks the scripts that were named.
.exit or Ctrl-D ends. Example:
  echo "decide(flow({ src: '10.0.0.5:1', dst: '192.0.2.1:22' }))" | culvert script repl route.ts`;

export function addScriptRepl(script: Command): void {
  script
    .command('repl [file...]')
    .description('a prompt in the sandbox of scripts; a config in place of scripts loads all of it')
    .option('--root <folder>', 'also import files below this folder')
    .addHelpText('after', HELP)
    .action(repl);
}

async function repl(files: string[], { root }: { readonly root?: string }): Promise<void> {
  const sandbox = await makeSandbox(files, root);
  const isTerminal = process.stdin.isTTY === true;
  const lines = createInterface({
    input: process.stdin,
    prompt: PROMPT,
    ...(isTerminal ? { output: process.stdout } : {}),
  });
  if (isTerminal) lines.prompt();
  for await (const line of lines) {
    if (line.trim() === '.exit') break;
    if (line.trim() !== '') print(await evaluate(sandbox, line));
    if (sandbox.isBroken)
      throw new CommandError(ExitCode.FAILED, 'the sandbox is broken: start anew');
    if (isTerminal) lines.prompt();
  }
  lines.close();
}

async function makeSandbox(files: readonly string[], root?: string): Promise<ReplSandbox> {
  const bundle = files.length === 0 ? bundleOf([]) : readBundle(files, root);
  try {
    return await ReplSandbox.make(bundle, print);
  } catch (cause) {
    if (!(cause instanceof BundleLoadError)) throw cause;
    throw new CommandError(ExitCode.FAILED, cause.message, { cause });
  }
}

const typescript = new Bun.Transpiler({ loader: 'ts', deadCodeElimination: false });

/** The value of a line, or what it threw. */
async function evaluate(sandbox: ReplSandbox, line: string): Promise<string> {
  let code: string;
  try {
    // What begins like a block is meant as an object.
    code = typescript.transformSync(line.trimStart().startsWith('{') ? `(${line})` : line);
  } catch (error) {
    return `error: ${error instanceof Error ? error.message : String(error)}`;
  }
  const { isValue, text } = await sandbox.evaluate(code);
  return isValue ? text : `error: ${text.trimEnd()}`;
}
