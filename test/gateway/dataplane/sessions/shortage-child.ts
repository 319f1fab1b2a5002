/**
 * A process that has no descriptor left when three flows begin, and one when the fourth does. It is
 * one of its own because the runtime, too, opens files when it likes, and takes refusals badly.
 * Its argument is the port of an upstream; it prints what became of the flows as JSON.
 */
import { Counter } from '../../../../src/stack/counters.ts';
import { withoutDescriptors } from '../../../ffi/support/descriptors.ts';
import { SessionRig } from '../../../support/session-rig.ts';

const lines: unknown[] = [];
using rig = new SessionRig({
  report: (message) => {
    if (message.kind === 'log') lines.push([message.level, message.event, message.fields]);
  },
});
const start = () => rig.start({ port: Number(process.argv[2]) });
withoutDescriptors(() => {
  for (let i = 0; i < 3; i++) start();
});
const { ended, rejections } = rig;
const failed = rig.counters.get(Counter.DIALS_FAILED);
process.stdout.write(JSON.stringify({ ended, rejections, lines, failed }));
rig.send(start(), 'again');
rig.turn();
