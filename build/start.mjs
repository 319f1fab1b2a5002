/** `npm start`: from a fresh clone to a running gateway on its embedded default. */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { BINARY, buildBinary, fail, installDependencies, whatIsMissing } from './prepare.mjs';

/**
 * Ctrl-C reaches this process twice, from the terminal and from npm, but the gateway takes a
 * second signal as "at once".
 */
const REPEAT_MS = 300;
const FORWARDED = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1'];

const missing = whatIsMissing();
if (missing.length > 0)
  fail('cannot start, this is missing:', ...missing.map((what) => `  ${what}`));
installDependencies();
buildBinary();

// A process group of its own, so that signals come through this process only.
const gateway = spawn(BINARY, ['run', ...process.argv.slice(2)], {
  stdio: 'inherit',
  detached: true,
});
const lastAt = new Map();
for (const signal of FORWARDED) {
  process.on(signal, () => {
    const now = performance.now();
    if (now - (lastAt.get(signal) ?? -Infinity) > REPEAT_MS) gateway.kill(signal);
    lastAt.set(signal, now);
  });
}
gateway.on('error', (error) => fail(`${BINARY}: ${error.message}`));
gateway.on('exit', (code, signal) => {
  process.exit(code ?? 128 + (constants.signals[signal] ?? 0));
});
