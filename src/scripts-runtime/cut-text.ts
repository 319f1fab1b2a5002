import { LOG_MESSAGE_LENGTH } from './limits.ts';

const CUT_MARK = '…';

/** Text of strangers at a length that can be sent and shown, in UTF-16 units. */
export function cutText(text: string, length = LOG_MESSAGE_LENGTH): string {
  return text.length <= length ? text : text.slice(0, length - CUT_MARK.length) + CUT_MARK;
}
