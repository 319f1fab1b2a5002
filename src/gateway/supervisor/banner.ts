/** What a person sees who starts culvert without a config. */

import { DEFAULT_ADMIN } from '../config/admin-schema.ts';
import { HOST_ADDRESS, WELCOME_ADDRESS } from '../config/default-config.ts';

/**
 * @param script  path of the editable default script
 * @param admin   where the API listens
 * @param program how this binary is called from here: `dist/culvert`
 */
export function welcomeText(script: string, admin: string, program: string): string {
  const flag = admin === DEFAULT_ADMIN ? '' : ` --admin ${admin}`;
  const commands: readonly (readonly [command: string, meaning: string])[] = [
    [`curl http://${WELCOME_ADDRESS}/`, 'a page that the gateway serves through its own stack'],
    [`curl http://${HOST_ADDRESS}:8080/`, "port 8080 of this machine's 127.0.0.1"],
    [`${program} reload${flag}`, `after an edit of ${script}`],
  ];
  const width = Math.max(...commands.map(([command]) => command.length));
  const lines = commands.map(([command, meaning]) => `  ${command.padEnd(width)}  ${meaning}\n`);
  return `
culvert runs on its embedded default. Try from another terminal:

${lines.join('')}
Ctrl-C drains and stops.

`;
}
