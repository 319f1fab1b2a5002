/** Builds dist/culvert unless it is newer than all that it is made from. For tests in Bun. */
import { buildBinary } from './prepare.mjs';

buildBinary();
