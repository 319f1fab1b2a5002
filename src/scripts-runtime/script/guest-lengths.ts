import { QUERY_MAX, TRANSFER_MAX } from '../host-functions/web.ts';
import {
  ADDRESS_LENGTH,
  LOG_FIELDS_LENGTH,
  LOG_MESSAGE_LENGTH,
  VERDICT_TEXT_BYTES,
} from '../limits.ts';
import { SET_VALUE_LENGTH } from '../sets/sets.ts';

/** UTF-16 units at which the guest cuts what it hands out: no more of it is used here. */
export const GUEST_LENGTHS = {
  // One more than is shown: the cut can be told.
  message: LOG_MESSAGE_LENGTH + 1,
  fields: LOG_FIELDS_LENGTH + 1,
  // A unit is a byte at least.
  verdictText: VERDICT_TEXT_BYTES,
  address: ADDRESS_LENGTH,
  transfer: TRANSFER_MAX,
  query: QUERY_MAX,
  setValue: SET_VALUE_LENGTH,
};
