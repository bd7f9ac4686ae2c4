// SPDX-License-Identifier: Apache-2.0
import type { Terminal } from '@xterm/xterm';

/** Operating system commands that are ignored: titles, clipboard, links, notifications, files, shell integration. */
const ignoredOsc = [0, 1, 2, 7, 8, 9, 52, 99, 133, 777, 1337];

/** Operating system commands that set a colour, or ask for it when their text has a question mark. */
const colourOsc = [4, 10, 11, 12];

/** Control sequences that a terminal answers: device attributes, status reports, modes, version. */
const questions = [
  { final: 'c' },
  { prefix: '>', final: 'c' },
  { prefix: '=', final: 'c' },
  { final: 'n' },
  { prefix: '?', final: 'n' },
  { intermediates: '$', final: 'p' },
  { prefix: '?', intermediates: '$', final: 'p' },
  { prefix: '>', final: 'q' },
  { final: 't' },
];

/**
 * Takes from a terminal what a guest must not be able to do with escape sequences. A guest is hostile: its output
 * never names the window (OSC 0 to 2), fills the clipboard (OSC 52) or hides an address behind other words (OSC 8).
 * An answer to a question is typed into the guest, so questions are answered only while `mayAnswer`: when the
 * user is at this terminal, and not when the record of what was asked long ago is shown again.
 */
export function tame(terminal: Terminal, mayAnswer: () => boolean): void {
  const { parser } = terminal;
  for (const osc of ignoredOsc) parser.registerOscHandler(osc, () => true);
  for (const osc of colourOsc) parser.registerOscHandler(osc, (text) => text.includes('?') && !mayAnswer());
  for (const id of questions) parser.registerCsiHandler(id, () => !mayAnswer());
  parser.registerDcsHandler({ intermediates: '$', final: 'q' }, () => !mayAnswer());
  parser.registerDcsHandler({ intermediates: '+', final: 'q' }, () => !mayAnswer());
}
