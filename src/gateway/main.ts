/**
 * One binary, several processes: the first argument says which. Each loads only its own part, so
 * that a child stays small and a change of the CLI cannot touch the packet path.
 */
const [subCommand = ''] = process.argv.slice(2);

switch (subCommand) {
  case '__data-plane': {
    const { runDataPlane } = await import('./dataplane/main.ts');
    runDataPlane();
    break;
  }
  case '__script-host': {
    const { runScriptHost } = await import('./script-host/main.ts');
    await runScriptHost(Number(process.argv[3]));
    break;
  }
  case '__script-check': {
    const { runScriptCheck } = await import('./script-host/main.ts');
    await runScriptCheck();
    break;
  }
  default: {
    const { runCli } = await import('./cli/program.ts');
    process.exit(await runCli(process.argv.slice(2)));
  }
}
