// SPDX-License-Identifier: Apache-2.0

/** How many of the last bytes are looked at: a line of 200 characters, also one full of colours. */
export const tailBytes = 4096;
const longestLine = 200;

/* Escape sequences of ECMA-48: strings (OSC, DCS, SOS, PM, APC) up to their terminator, CSI, and the rest. One that is cut off at the end counts too. */
// oxlint-disable-next-line no-control-regex
const strings = /\u001b[\]PX^_][^\u0007\u001b]*(?:\u0007|\u001b\\|$)/g;
// oxlint-disable-next-line no-control-regex
const csi = /\u001b\[[0-?]*[ -/]*(?:([@-~])|$)/g;
// oxlint-disable-next-line no-control-regex
const otherEscapes = /\u001b[ -/]*[0-~]?/g;
/** Stands for "erase to the end of the line" while the rest of the sequences is taken out. */
const eraseMark = '\u007f';

/** What a terminal's line shows after `text`: CR returns, backspace steps back, a character overwrites. */
function shown(text: string): string {
  const cells: string[] = [];
  let at = 0;
  for (const character of text) {
    if (character === '\r') at = 0;
    else if (character === '\b') at = Math.max(0, at - 1);
    else if (character === eraseMark) cells.length = Math.min(cells.length, at);
    else if (character === '\t') cells[at++] = ' ';
    // Controls, formats (bidirectional overrides among them), lone surrogates, private and unassigned characters.
    else if (!/\p{C}/u.test(character)) cells[at++] = character;
  }
  return cells.join('').trim();
}

/**
 * The last line that is not empty in the last bytes of a console, as plain text of at most 200 characters: no
 * escape sequence, no control or invisible character, whatever the guest sent. Empty where there is none.
 */
export function lastLine(bytes: Uint8Array): string {
  const text = new TextDecoder().decode(bytes.subarray(-tailBytes));
  const plain = text
    .replaceAll(eraseMark, '')
    .replace(strings, '')
    .replace(csi, (_, final: string | undefined) => (final === 'K' || final === 'J' ? eraseMark : ''))
    .replace(otherEscapes, '');
  for (const line of plain.split('\n').toReversed()) {
    const visible = shown(line);
    if (visible !== '') return Array.from(visible).slice(0, longestLine).join('');
  }
  return '';
}
