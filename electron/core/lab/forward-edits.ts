// SPDX-License-Identifier: Apache-2.0
import { TapyardError } from '../../contract/error.ts';
import { type ForwardDefinition, type Listening, listeningText } from '../../contract/lab-file.ts';
import { withForwards } from './edit.ts';
import { editLabFile, type LoadedFile } from './lab-file.ts';

const otherThan =
  (at: Listening) =>
  ({ address, port, protocol }: Listening): boolean =>
    address !== at.address || port !== at.port || protocol !== at.protocol;

/** Writes a forward to a guest into the file, in place of one with its port. Throws LAB_FILE_*. */
export function addForward(file: string, guest: string, forward: ForwardDefinition): Promise<LoadedFile> {
  const elsewhere = otherThan(forward);
  return editLabFile(file, undefined, (text, definition) => {
    const forwards = definition.guests[guest]?.forwards ?? [];
    return withForwards(text, guest, [...forwards.filter(elsewhere), forward]);
  });
}

/** Takes a forward to a guest of `lab` out of the file. Throws NO_SUCH_FORWARD, LAB_FILE_*. */
export function removeForward(lab: string, file: string, guest: string, at: Listening): Promise<LoadedFile> {
  return editLabFile(file, undefined, (text, definition) => {
    const forwards = definition.guests[guest]?.forwards ?? [];
    const others = forwards.filter(otherThan(at));
    if (others.length === forwards.length)
      throw new TapyardError(
        'NO_SUCH_FORWARD',
        `Nothing leads from ${listeningText(at)} to ${guest} in the lab ${lab}.`,
        {
          hint: `It has: ${forwards.map(listeningText).join(', ') || 'none'}.`,
          subject: `${lab}/${guest}`,
        },
      );
    return withForwards(text, guest, others);
  });
}
